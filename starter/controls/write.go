package controls

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes the table for a terminal.
func WriteText(w io.Writer, rows []Row) error {
	p := printer{w: w}
	framework, before := "", ""
	for _, r := range rows {
		if r.Framework != framework {
			framework = r.Framework
			p.printf("%s%s\n", before, framework)
			before = "\n"
		}
		p.printf("\n  %-10s  %s\n              %s\n              in %s\n              %s\n", r.ID, r.Demands, r.Enforced, strings.Join(r.Where, ", "), r.sum())
		for _, proof := range r.Proofs {
			if len(proof.Tests) == 0 {
				p.printf("              %-4s  %-11s  %s\n", proof.ID, NoTest, proof.Says)
			}
			for _, t := range proof.Tests {
				p.printf("              %-4s  %-11s  %s\n", proof.ID, t.Result, t.Name)
			}
		}
	}
	return p.err
}

// sum says in a few words how the tests of a control ended, and what none of them proves.
func (r Row) sum() string {
	n := r.Count()
	var parts []string
	for _, result := range []string{Passed, Failed, Unfinished, Skipped, NotRun} {
		if n[result] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[result], result))
		}
	}
	if len(parts) == 0 {
		return NoTest
	}
	text := "tests: " + strings.Join(parts, ", ")
	if ids := r.unproven(); len(ids) > 0 {
		text += "; no test of " + strings.Join(ids, ", ")
	}
	return text
}

// printer keeps the first error of many writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}
