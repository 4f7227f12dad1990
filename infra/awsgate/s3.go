package awsgate

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/countersign-dev/countersign/infra/awspolicy"
)

// S3 puts the gate before an S3 gateway (path style). Bodies stream through; only the small XML ones that say what is asked are read here. The
// gateway verifies each signature again, and the body against it.
func (g *Gate) S3(target string) (http.Handler, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.Host = r.In.Host // the signature covers it
		},
		Transport: &http.Transport{
			DisableCompression: true, // or it would ask in the caller's place, and unpack
			MaxIdleConns:       256, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: time.Minute, ExpectContinueTimeout: time.Second,
		},
		ModifyResponse: hideAbsence,
		ErrorLog:       log.New(io.Discard, "", 0), // a caller who hung up is no news
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			refuseS3(w, r, http.StatusServiceUnavailable, "ServiceUnavailable", "the store behind the gate doesn't answer", "")
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, fault := g.caller(r, "s3", r.Header.Get("X-Amz-Content-Sha256"))
		if fault != nil {
			refuseS3(w, r, http.StatusForbidden, fault.s3, fault.message, "")
			return
		}
		if !s.Root {
			asked, err := readS3(r, g.now())
			if err != nil {
				refuseS3(w, r, http.StatusForbidden, "AccessDenied", "User: "+s.user()+" is not authorized to perform this request", err.Error())
				return
			}
			for _, o := range asked.operations {
				if d := g.judgeS3(s, r, asked.bucket, o); !d.Allowed {
					because := "because no policy allows the " + o.action + " action"
					if d.Denied {
						because = "with an explicit deny in a policy"
					}
					refuseS3(w, r, http.StatusForbidden, "AccessDenied", "User: "+s.user()+" is not authorized to perform: "+o.action+" on resource: \""+o.resource(asked.bucket)+"\" "+because, d.By)
					return
				}
			}
			if asked.reads && !g.judgeS3(s, r, asked.bucket, operation{action: "s3:ListBucket"}).Allowed {
				r = r.WithContext(context.WithValue(r.Context(), hidden{}, true))
			}
		}
		proxy.ServeHTTP(w, r)
	}), nil
}

func (g *Gate) judgeS3(s session, r *http.Request, bucket string, o operation) awspolicy.Decision {
	c := s.context(r)
	for key, values := range o.context {
		c[key] = values
	}
	return awspolicy.Decide(awspolicy.Request{Principal: s.role, Action: o.action, Resource: o.resource(bucket), Context: c}, []*awspolicy.Policy{s.policy}, g.buckets[bucket])
}

// hidden marks the requests of those who may not know whether an object exists.
type hidden struct{}

// hideAbsence answers as S3 does to whoever may not list the bucket: that an object isn't there is then as forbidden as an object of somebody else. A condition
// on s3:prefix doesn't hold for a read, which has no prefix.
func hideAbsence(response *http.Response) error {
	if response.StatusCode != http.StatusNotFound || response.Request.Context().Value(hidden{}) == nil {
		return nil
	}
	_ = response.Body.Close()
	body := errorBody("AccessDenied", "Access Denied")
	if response.Request.Method == http.MethodHead {
		body = nil
	}
	response.StatusCode, response.Status = http.StatusForbidden, ""
	response.Header = http.Header{"Content-Type": {"application/xml"}, "X-Amz-Request-Id": {uuid.NewString()}, DeniedBy: {"what isn't there is hidden from whoever may not list the bucket"}}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

func refuseS3(w http.ResponseWriter, r *http.Request, status int, code, message, by string) {
	if by != "" {
		w.Header().Set(DeniedBy, by)
	}
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", uuid.NewString())
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(errorBody(code, message)) // a caller who hung up can't be told
	}
}

func errorBody(code, message string) []byte {
	body, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: strings.ToValidUTF8(message, "?")})
	if err != nil {
		return nil // two strings can't fail
	}
	return append([]byte(xml.Header), body...)
}
