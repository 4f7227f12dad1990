package evidence

import (
	commonpb "go.temporal.io/api/common/v1"

	"github.com/countersign-dev/countersign"
)

// ActorOf reads the person or machine that the Temporal server stamped on an event. A platform process, or nobody, is no actor.
func ActorOf(p *commonpb.Principal) (countersign.Actor, bool) {
	return countersign.ParseActor(p.GetName())
}
