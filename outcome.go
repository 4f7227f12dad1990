package countersign

// Outcome is how a signing ended. Every one of them leaves evidence.
type Outcome string

// The endings.
const (
	Completed  Outcome = "completed"  // approved, signed, and the evidence is locked
	Rejected   Outcome = "rejected"   // somebody entitled to said no
	Expired    Outcome = "expired"    // a stage's deadline passed without its quorum
	Withdrawn  Outcome = "withdrawn"  // the requester took it back
	Refused    Outcome = "refused"    // not admitted: the request, its document or its requester did not pass intake
	Revoked    Outcome = "revoked"    // an authority that it stood on was withdrawn before the key was used
	Failed     Outcome = "failed"     // a part that was needed did not work in time; nothing was signed
	Voided     Outcome = "voided"     // signed, but the evidence could not be locked in time: the signature was withheld
	Terminated Outcome = "terminated" // an operator ended the saga
)

// Meaning is the outcome in a sentence, for people.
func (o Outcome) Meaning() string {
	switch o {
	case Completed:
		return "Approved by everyone who had to, signed, and released with its evidence locked."
	case Rejected:
		return "Rejected by an approver. Nothing was signed."
	case Expired:
		return "A deadline passed before enough approvals came. Nothing was signed."
	case Withdrawn:
		return "Withdrawn by the requester. Nothing was signed."
	case Refused:
		return "Refused at intake. Nothing was signed."
	case Revoked:
		return "An authority was revoked before signing. Nothing was signed."
	case Failed:
		return "A part that was needed did not work in time. Nothing was signed."
	case Voided:
		return "Signed, but the evidence could not be locked in time. The signature was withheld, and is void."
	case Terminated:
		return "Ended by an operator. Nothing was released."
	}
	return "Unknown outcome."
}

// Valid says that the outcome is one of ours.
func (o Outcome) Valid() bool { return o.Meaning() != "Unknown outcome." }
