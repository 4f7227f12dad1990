package workflows_test

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

var deputy = countersign.Actor{Issuer: "https://id.acme.example", Subject: "dora"}

// planned makes the saga's plan another one than usual, and its decisions taken when they are sent.
func (s *stage) planned(change func([]countersign.Stage)) {
	s.admit = func(in evidence.AdmitInput) (evidence.Admission, error) {
		a := admission(in)
		change(a.Plan.Stages)
		return a, nil
	}
	s.check = func(in evidence.CheckInput) (evidence.Check, error) {
		c := judged(in, "")
		c.At = s.env.Now()
		return c, nil
	}
}

func besides(stages []countersign.Stage) { stages[1].Beside = true }

func TestSigning_StagesSideBySideAreAskedTogetherAndApprovedInAnyOrder(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.planned(besides)
	s.approves(1*time.Hour, carla, "counsel")
	s.approves(2*time.Hour, lena, "legal")
	s.at(90*time.Minute, func() {
		if st := s.status(); st.Stage != "legal" || !slices.Equal(st.Open, []string{"legal", "counsel"}) {
			t.Errorf("open are %q, first %q", st.Open, st.Stage)
		}
	})
	s.approves(3*time.Hour, liam, "legal")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantElapsed(3 * time.Hour)
	s.wantTold(evidence.EventApprovalRequested, evidence.EventApprovalRequested, evidence.EventSigned)
}

func TestSigning_ARejectionBesideEndsTheStep(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.planned(besides)
	s.approves(1*time.Hour, lena, "legal")
	s.decides(2*time.Hour, decision("no", "counsel", carla, countersign.Reject))
	s.wantOutcome(s.runSaga(), countersign.Rejected, "stage counsel, by https://id.counsel.example#carla: because")
	s.wantElapsed(2 * time.Hour)
}

func TestSigning_EachStageSideBySideHasItsOwnDeadline(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.planned(besides)
	s.approves(1*time.Hour, lena, "legal")
	s.approves(2*time.Hour, liam, "legal") // the nearer deadline is met
	s.wantOutcome(s.runSaga(), countersign.Expired, "stage counsel had 0 of 1 approvals at its deadline")
	s.wantElapsed(counselDeadline)

	s = newStage(t)
	s.planned(besides)
	s.approves(1*time.Hour, carla, "counsel") // the later one is
	s.wantOutcome(s.runSaga(), countersign.Expired, "stage legal had 0 of 2 approvals at its deadline")
	s.wantElapsed(legalDeadline)
}

func TestN07_AStageStaysOpenUntilItsCompositionIsThere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.planned(func(stages []countersign.Stage) {
		legal := &stages[0]
		legal.Quorum, legal.AtLeast = 1, []countersign.Share{{Count: 1, Role: "partner"}}
		legal.Eligible = []countersign.Eligible{{Actor: lena}, {Actor: liam, Roles: []string{"partner"}}}
	})
	s.approves(1*time.Hour, lena, "legal")
	s.at(90*time.Minute, func() {
		if st := s.status(); st.Stage != "legal" {
			t.Errorf("one approval of the quorum, but not of the partner; the stage is %q", st.Stage)
		}
	})
	s.approves(2*time.Hour, liam, "legal")
	s.approves(3*time.Hour, carla, "counsel")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")

	s = newStage(t)
	s.planned(func(stages []countersign.Stage) {
		stages[0].Quorum, stages[0].AtLeast = 1, []countersign.Share{{Count: 1, Role: "partner"}}
	})
	s.approves(1*time.Hour, lena, "legal")
	s.wantOutcome(s.runSaga(), countersign.Expired, `stage legal has 1 approvals, but not at least 1 of the role "partner" among them; each approval fills one place, at its deadline`)
}

func TestR24_ATimerRemindsWhoHasNotDecided(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.planned(func(stages []countersign.Stage) {
		stages[0].Reminders = []time.Time{start.Add(24 * time.Hour), start.Add(48 * time.Hour)}
	})
	s.approves(25*time.Hour, lena, "legal")
	s.approves(50*time.Hour, liam, "legal")
	s.approves(51*time.Hour, carla, "counsel")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantTold(evidence.EventApprovalRequested, evidence.EventApprovalReminder, evidence.EventApprovalReminder, evidence.EventApprovalRequested, evidence.EventSigned)
	if first, second := s.notes[1], s.notes[2]; !slices.Equal(first.To, []countersign.Actor{lena, liam}) || !slices.Equal(second.To, []countersign.Actor{liam}) ||
		first.Owner || second.Event.Stage != "legal" || !second.Event.Deadline.Equal(start.Add(legalDeadline)) {
		t.Errorf("reminded were %+v, then %+v", first, second)
	}
}

func TestR24_ATimerEscalatesAndTheQuorumStays(t *testing.T) {
	t.Parallel()
	escalating := func(stages []countersign.Stage) {
		stages[0].Escalation = &countersign.Escalation{At: start.Add(24 * time.Hour), Role: "deputy", Eligible: []countersign.Eligible{{Actor: deputy}}}
	}
	s := newStage(t)
	s.planned(escalating)
	s.approves(1*time.Hour, lena, "legal")
	s.approves(30*time.Hour, deputy, "legal")
	s.approves(31*time.Hour, carla, "counsel")
	got := s.runSaga()
	s.wantOutcome(got, countersign.Completed, "")
	s.wantTold(evidence.EventApprovalRequested, evidence.EventApprovalEscalated, evidence.EventApprovalRequested, evidence.EventSigned)
	if told := s.notes[1]; !slices.Equal(told.To, []countersign.Actor{deputy}) || !told.Owner || told.Event.Detail != "Stage legal has 1 of 2 approvals." {
		t.Errorf("escalated with %+v", told)
	}
	if !slices.Contains(got.Told, deputy) {
		t.Errorf("the deputy doesn't hear how it ended: %v", got.Told)
	}

	s = newStage(t)
	s.planned(escalating)
	s.approves(30*time.Hour, deputy, "legal")
	s.wantOutcome(s.runSaga(), countersign.Expired, "stage legal had 1 of 2 approvals at its deadline")
	s.wantElapsed(legalDeadline)
}

func TestR24_NothingRemindsOrEscalatesOnceAStageIsClosed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.planned(func(stages []countersign.Stage) {
		stages[0].Reminders = []time.Time{start.Add(24 * time.Hour)}
		stages[0].Escalation = &countersign.Escalation{At: start.Add(25 * time.Hour), Role: "deputy", Eligible: []countersign.Eligible{{Actor: deputy}}}
	})
	s.approves(1*time.Hour, lena, "legal")
	s.approves(2*time.Hour, liam, "legal")
	s.approves(50*time.Hour, carla, "counsel")
	s.wantOutcome(s.runSaga(), countersign.Completed, "")
	s.wantTold(evidence.EventApprovalRequested, evidence.EventApprovalRequested, evidence.EventSigned)
}
