package evidence

import (
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
)

// What a sender says of itself is shown only where it is an address and one printable line.
func TestR11_WhatASenderSaysOfItselfIsBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		field string
		want  Source
	}{
		"an address and a program":    {`{"ip":"192.0.2.7","userAgent":"curl/8.5.0"}`, Source{"192.0.2.7", "curl/8.5.0"}},
		"IPv6 in its usual spelling":  {`{"ip":"2001:DB8:0:0::7"}`, Source{IP: "2001:db8::7"}},
		"IPv4 in IPv6":                {`{"ip":"::ffff:192.0.2.7"}`, Source{IP: "192.0.2.7"}},
		"no address":                  {`{"ip":"<script>","userAgent":"a"}`, Source{UserAgent: "a"}},
		"lines and control bytes":     {`{"userAgent":"a\n\u001b[31mb\u0000"}`, Source{UserAgent: "a[31mb"}},
		"a direction that is changed": {`{"userAgent":"a\u202eb"}`, Source{UserAgent: "ab"}},
		"long":                        {`{"userAgent":"` + strings.Repeat("é", 200) + `"}`, Source{UserAgent: strings.Repeat("é", 128)}},
		"longer than is read":         {`{"ip":"192.0.2.7","userAgent":"` + strings.Repeat("a", 2000) + `"}`, Source{}},
		"no JSON":                     {`192.0.2.7`, Source{}},
		"another form":                {`{"ip":7}`, Source{}},
	} {
		h := &commonpb.Header{Fields: map[string]*commonpb.Payload{HeaderSource: {Data: []byte(c.field)}}}
		if got := ReadSource(h); got != c.want {
			t.Errorf("%s: read %+v, want %+v", name, got, c.want)
		}
	}
	if got := ReadSource(nil); got != (Source{}) {
		t.Errorf("no header: %+v", got)
	}
}

func TestR11_ASourceIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	want := Source{"192.0.2.7", "curl/8.5.0"}
	p, err := want.Payload()
	if err != nil {
		t.Fatal(err)
	}
	if got := ReadSource(&commonpb.Header{Fields: map[string]*commonpb.Payload{HeaderSource: p}}); got != want {
		t.Errorf("read %+v", got)
	}
}
