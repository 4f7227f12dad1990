package main

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/infra/revocation"
	"github.com/countersign-dev/countersign/infra/tsa"
)

// startTSAs starts two authorities, each with a root of its own, and serves the revocation lists of all roots at one place.
func (r *running) startTSAs(context.Context) (string, error) {
	for _, a := range []struct {
		part, name string
		about      *tsaInfo
	}{
		{"tsa", "Countersign development TSA", &r.about.TSA},
		{"tsa-second", "Countersign development second TSA", &r.about.SecondTSA},
	} {
		authority, err := tsa.OpenWith(r.path(a.part), tsa.Options{Name: a.name, RevocationURL: r.listURL(a.part)})
		if err != nil {
			return "", err
		}
		ca := r.path("ca", a.part+"-ca.pem")
		if err := writePrivate(ca, authority.CAPEM()); err != nil {
			return "", err
		}
		r.publish(a.part, authority.Revocation(r.path("revoked", a.part)))
		r.serve(a.part, authority)
		*a.about = tsaInfo{URL: r.ports.url(a.part) + "/", CA: ca}
	}
	r.serve("revocation", r.lists)
	return r.about.TSA.URL + " and " + r.about.SecondTSA.URL, nil
}

// publish serves an authority's revocation list, and returns where; "" where certificates are not to name one.
func (r *running) publish(authority string, list *revocation.List) string {
	r.lists.Handle("/"+authority+".crl", http.Handler(list))
	return r.listURL(authority)
}

func (r *running) listURL(authority string) string {
	if r.single {
		return ""
	}
	return r.ports.url("revocation") + "/" + authority + ".crl"
}
