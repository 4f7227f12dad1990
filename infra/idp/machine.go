package idp

import (
	"errors"
	"net/http"
	"time"

	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// maxAssertion bounds how long a machine's assertion may be good.
const maxAssertion = 10 * time.Minute

const assertionRefused = "The assertion was refused. It must be a JWT signed with the machine's registered key, with iss and sub its client id, aud this issuer, and exp at most 10 minutes after iat."

// machineToken answers the two uses of an assertion in RFC 7523: as a grant
// (section 2.1, the parameter assertion) and as client authentication with the
// client_credentials grant (section 2.2, private_key_jwt). The library has only
// the first and answers a bad assertion with a server error.
func (p *Provider) machineToken(w http.ResponseWriter, r *http.Request) {
	assertion := r.PostForm.Get("assertion")
	refused := oidc.ErrInvalidGrant
	if r.PostForm.Get("grant_type") == string(oidc.GrantTypeClientCredentials) {
		if r.PostForm.Get("client_assertion_type") != oidc.ClientAssertionTypeJWTAssertion {
			op.RequestError(w, r, oidc.ErrInvalidClient().WithDescription("A machine authenticates with a client_assertion of type %s.", oidc.ClientAssertionTypeJWTAssertion), nil)
			return
		}
		assertion, refused = r.PostForm.Get("client_assertion"), oidc.ErrInvalidClient
	}
	ctx := op.ContextWithIssuer(r.Context(), p.issuer.String())
	verifier := op.NewJWTProfileVerifier(p.storage, p.issuer.String(), maxAssertion, time.Second)
	request, err := op.VerifyJWTAssertion(ctx, assertion, verifier)
	if err == nil && request.ExpiresAt.AsTime().Sub(request.IssuedAt.AsTime()) > maxAssertion {
		err = errors.New("the assertion is good for too long")
	}
	if id := r.PostForm.Get("client_id"); err == nil && id != "" && id != request.Subject {
		err = errors.New("the assertion belongs to another client")
	}
	if err != nil {
		op.RequestError(w, r, refused().WithDescription(assertionRefused).WithParent(err), nil)
		return
	}
	// The assertion's audience is this issuer; the token's is the API.
	request.Audience = oidc.Audience{clientAPI}
	response, err := op.CreateJWTTokenResponse(ctx, request, p.op)
	if err != nil {
		op.RequestError(w, r, err, nil)
		return
	}
	httphelper.MarshalJSON(w, response)
}
