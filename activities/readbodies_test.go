package activities

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/countersign-dev/countersign"
)

// sent keeps the body of a request, and answers it at once.
type sent struct{ body io.ReadCloser }

func (s *sent) Do(r *http.Request) (*http.Response, error) {
	s.body = r.Body
	_, err := io.CopyN(io.Discard, r.Body, r.ContentLength)
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(`{"Signature":"AQID"}`)),
	}, err
}

// A transport looks for more of a body after its end, perhaps only when the answer is there already: that must find nothing, and no error, or it drops the
// connection with the answer on it.
func TestABodyThatIsLookedAtAfterTheAnswerHasEndedWell(t *testing.T) {
	t.Parallel()
	s := &sent{}
	anybody := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "not-a-secret"}, nil
	})
	c := NewKMS(aws.Config{Region: "eu-central-1", Credentials: anybody, HTTPClient: s}, &countersign.Settings{})
	out, err := c.Sign(t.Context(), &kms.SignInput{KeyId: aws.String("key"), Message: bytes.Repeat([]byte{1}, 4096), MessageType: kmstypes.MessageTypeRaw, SigningAlgorithm: kmstypes.SigningAlgorithmSpecMlDsaShake256})
	if err != nil || !bytes.Equal(out.Signature, []byte{1, 2, 3}) {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, s.body); n != 0 || err != nil {
		t.Errorf("after the answer there are %d bytes more, and %v", n, err)
	}
}
