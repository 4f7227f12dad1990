package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
)

// sources is what records from where callers of a tenant send: nothing, where the tenant's file says so.
func sources(s *countersign.Settings) []workflow.ContextPropagator {
	if !s.Evidence.RecordsSource() {
		return nil
	}
	return []workflow.ContextPropagator{sourceHeader{}}
}

// sourceHeader writes from where the caller sends into the header of what the API passes on to Temporal.
type sourceHeader struct{}

type sourceKey struct{}

// Inject writes the source of the request that is being served.
func (sourceHeader) Inject(ctx context.Context, w workflow.HeaderWriter) error {
	source, ok := ctx.Value(sourceKey{}).(evidence.Source)
	if !ok {
		return nil
	}
	field, err := source.Payload()
	if err != nil {
		return fmt.Errorf("couldn't record from where it was sent: %w", err)
	}
	w.Set(evidence.HeaderSource, field)
	return nil
}

// Extract, InjectFromWorkflow and ExtractToWorkflow do nothing: the API runs no workflows.
func (sourceHeader) Extract(ctx context.Context, _ workflow.HeaderReader) (context.Context, error) {
	return ctx, nil
}

func (sourceHeader) InjectFromWorkflow(workflow.Context, workflow.HeaderWriter) error { return nil }

func (sourceHeader) ExtractToWorkflow(ctx workflow.Context, _ workflow.HeaderReader) (workflow.Context, error) {
	return ctx, nil
}

// ParseProxies reads addresses and networks of proxies, separated by commas.
func ParseProxies(list string) (proxies []netip.Prefix, err error) {
	for _, each := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		prefix, err := netip.ParsePrefix(each)
		if address, notPrefix := netip.ParseAddr(each); err != nil && notPrefix == nil {
			prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no address and no network: write 10.0.0.7 or 10.0.0.0/24", each)
		}
		proxies = append(proxies, prefix.Masked())
	}
	return proxies, nil
}

// source is from where a request was sent. What X-Forwarded-For says is believed as far as proxies of ours wrote it: from its end, up to the first
// address that is not one of theirs.
func (s *Server) source(r *http.Request) evidence.Source {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.isProxy(host); i-- {
		hop := strings.TrimSpace(hops[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			break
		}
		host = hop
	}
	return evidence.Source{IP: host, UserAgent: r.UserAgent()}
}

func (s *Server) isProxy(host string) bool {
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range s.proxies {
		if p.Contains(address.Unmap()) {
			return true
		}
	}
	return false
}
