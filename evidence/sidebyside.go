package evidence

import "sync"

// beside begins work that nothing waits for yet, and returns what waits for its result. A panic is the waiting one's: whoever verifies what a stranger
// sent can recover from it, as if nothing had been done side by side.
func beside[T any](work func() T) (result func() T) {
	var out T
	var fault any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { fault = recover() }()
		out = work()
	}()
	return sync.OnceValue(func() T {
		<-done
		if fault != nil {
			panic(fault)
		}
		return out
	})
}

// sideBySide makes checks that don't need one another, each on a report of its own, and puts their findings into the report in the order in which they are given.
func (v *verifier) sideBySide(checks ...func(*verifier)) {
	var reports []func() *Report
	for _, c := range checks {
		w := *v
		w.report = &Report{Statement: v.report.Statement, Seal: v.report.Seal, History: v.report.History}
		reports = append(reports, beside(func() *Report {
			c(&w)
			return w.report
		}))
	}
	for _, report := range reports {
		v.report.Findings = append(v.report.Findings, report().Findings...)
	}
}
