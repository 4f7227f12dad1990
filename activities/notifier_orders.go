package activities

import (
	"fmt"
	"io"

	"github.com/countersign-dev/countersign/evidence"
)

// orderSubject is what a message about an order of compliance is about. Of a shredding it names nobody.
func orderSubject(e evidence.Event) string {
	switch e.Type {
	case evidence.EventOrderProposed:
		return "Your answer is asked about locked evidence: " + e.Title
	case evidence.EventOrderApproved:
		return "Locked evidence, approved: " + e.Title
	case evidence.EventOrderRefused:
		return "Locked evidence, not to be ordered now: " + e.Title
	case evidence.EventOrderStuck:
		return "What was ordered about locked evidence can't be done yet: " + e.Title
	}
	return "Locked evidence, " + e.Stage + ": " + e.Title
}

// orderText tells what became of an order, and where to look. A shredding is about no one request.
func orderText(w io.Writer, e evidence.Event) {
	about, look, answer := "this signing's locked evidence", "countersign audit hold show "+e.Request, "countersign audit hold approve "+e.Request
	if e.Request == "" {
		about, look, answer = "what locked evidence says of one person", "countersign audit shred show "+e.Context, "countersign audit shred approve "+e.Context
	}
	switch e.Type {
	case evidence.EventOrderProposed:
		fmt.Fprintf(w, "One of compliance orders something about %s. Another one approves or rejects it, before %s: %s, then %s\n",
			about, e.Deadline.UTC().Format("2 January 2006, 15:04 UTC"), look, answer)
	case evidence.EventOrderApproved:
		fmt.Fprintf(w, "A second one of compliance approved what was ordered about %s, and it is being done: %s\n", about, look)
	case evidence.EventOrderRefused:
		fmt.Fprintf(w, "One of compliance ordered something about %s, and it may not be ordered now. Nothing was done.\n", about)
	case evidence.EventOrderStuck:
		fmt.Fprintf(w, "What was ordered about %s can't be carried out yet. It is tried again until it works; what is named here has to end, or to be mended: %s\n", about, look)
	case evidence.EventOrderEnded:
		fmt.Fprintf(w, "An order about %s has ended: %s. %s\n", about, e.Stage, look)
	}
}
