// Command renewals asks our verifier of evidence records about records that others made, over files that are no bundles.
//
//	renewals <CASES
//
// CASES are lines with tabs between: name, record, the file, and the certificates that the record carries (one PEM file), of which those that no other one issued are trusted. The answer to
// each is one line of JSON: about the record as it is, and about the same in our form.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/evidence"
)

type answer struct {
	Case    string   `json:"case"`
	AsItIs  verdict  `json:"asItIs"`
	OurForm verdict  `json:"ourForm"`
	Changed []string `json:"changed"`
}

type verdict struct {
	Passed bool   `json:"passed"`
	Why    string `json:"why,omitempty"`
}

func main() {
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		a, err := ask(strings.Split(lines.Text(), "\t"))
		if err == nil {
			err = out.Encode(a)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "renewals:", err)
			os.Exit(1)
		}
	}
}

func ask(fields []string) (answer, error) {
	if len(fields) != 4 {
		return answer{}, fmt.Errorf("a case of %d fields: want name, record, file and certificates", len(fields))
	}
	record, err := os.ReadFile(fields[1])
	if err != nil {
		return answer{}, err
	}
	file, err := os.ReadFile(fields[2])
	if err != nil {
		return answer{}, err
	}
	certificates, err := os.ReadFile(fields[3])
	if err != nil {
		return answer{}, err
	}
	roots := evidence.Roots{TSAs: tops(certificates)}
	judge := func(record []byte) verdict {
		if _, err := evidence.VerifyRenewal(record, file, roots); err != nil {
			return verdict{Why: err.Error()}
		}
		return verdict{Passed: true}
	}
	a := answer{Case: fields[0], AsItIs: judge(record)}
	written, changed, err := ourForm(record, roots.TSAs)
	if err != nil {
		a.OurForm.Why = err.Error()
		return a, nil
	}
	a.OurForm, a.Changed = judge(written), changed
	return a, nil
}

// tops are the certificates of a PEM file that none of the others issued.
func tops(text []byte) *x509.CertPool {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	pool := x509.NewCertPool()
	for _, c := range all {
		if !slices.ContainsFunc(all, func(issuer *x509.Certificate) bool { return !issuer.Equal(c) && c.CheckSignatureFrom(issuer) == nil }) {
			pool.AddCert(c)
		}
	}
	return pool
}
