package activities

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// readBodies sends requests whose bodies can only be read.
//
// The SDK closes a request's body as soon as the answer begins, and its body then fails io.WriterTo with io.EOF, where Read would end well. net/http still looks whether a body
// has more than it said, in a goroutine of its own: where that comes later than a quick answer, it takes the connection for broken, and the rest of the answer is lost with
// it. Post-quantum signatures, whose answers don't come in one piece, were asked for again and again, each time after up to two seconds. (aws/smithy-go v1.28.8)
type readBodies struct{ next kms.HTTPClient }

func (c readBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body} // without its other methods
	}
	return c.next.Do(r)
}
