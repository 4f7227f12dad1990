package evidence

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence/shred"
)

// Personal is what a bundle says of one person: who they are, and every string in it that is their personal data.
type Personal struct {
	Actor   countersign.Actor
	Strings []string
}

// PersonalData finds whom a bundle names, and the strings that are theirs: the subject at their identity provider, name, e-mail address, ID tokens,
// signatures and keys of their own, reasons that they gave, what their client calls itself, the digests of what they decided, and from where they did; and what else a guess could be compared with, which is everybody's. Where it can't be told whose
// something is, it is everybody's, so that anybody may have it shredded; so are the strings of people whom nobody but a sender of signals names, because
// they can name as many as they like, and of those beyond shred.MaxSubjects.
//
// It looks in all that the history holds, and not in the document: what that says of people is for its parties.
func PersonalData(raw []byte) ([]Personal, error) {
	b, err := OpenBundle(raw)
	if err != nil {
		return nil, err
	}
	pb, ok := b.File(historyFile)
	if !ok {
		return nil, fmt.Errorf("it has no %s", historyFile)
	}
	h, err := ParseHistory(pb)
	if err != nil {
		return nil, err
	}
	p := peopleIn(h)
	var all []Personal
	for actor, texts := range p {
		if actor.IsZero() {
			continue
		}
		texts = append(texts, p[countersign.Actor{}]...)
		slices.Sort(texts)
		all = append(all, Personal{actor, slices.Compact(texts)})
	}
	slices.SortFunc(all, func(a, b Personal) int { return cmp.Compare(a.Actor.String(), b.Actor.String()) })
	return all, nil
}

// Names says whether evidence of this history, which may not be over yet, would say something of a person under a key of theirs.
func Names(h *historypb.History, person countersign.Actor) bool {
	_, named := peopleIn(h)[person]
	return named
}

// peopleIn are the people whom a history names, with their strings.
func peopleIn(h *historypb.History) people {
	p, known := people{}, people{}
	for _, e := range h.GetEvents() {
		sender, _ := ActorOf(e.GetPrincipal())
		if !sender.IsZero() {
			p.add(sender, sender.Subject)
			known.add(sender, sender.Subject)
		}
		// A client's own name for itself, which SDKs make of the machine's, and what an operator wrote.
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
			p.add(sender, a.GetIdentity())
		}
		if a := e.GetWorkflowExecutionTerminatedEventAttributes(); a != nil {
			p.add(sender, a.GetIdentity(), a.GetReason())
		}
		// What was signalled, and what activities are given of it, names whomever a stranger likes.
		said := e.GetWorkflowExecutionSignaledEventAttributes() != nil || e.GetActivityTaskScheduledEventAttributes() != nil
		walkPayloads(e.ProtoReflect(), func(payload *commonpb.Payload) {
			var v any
			if json.Unmarshal(payload.GetData(), &v) != nil {
				return
			}
			p.walk(v, sender)
			if !said && len(known) < shred.MaxSubjects {
				known.walk(v, sender)
			}
		})
	}
	p.keep(known)
	return p
}

// people are the strings of each person; those of nobody in particular are under no actor.
type people map[countersign.Actor][]string

// keep keeps apart those who are known, as many as can be; what was found of others is everybody's.
func (p people) keep(known people) {
	kept := 0
	for _, actor := range slices.SortedFunc(maps.Keys(p), func(a, b countersign.Actor) int { return cmp.Compare(a.String(), b.String()) }) {
		if actor.IsZero() {
			continue
		}
		if _, ok := known[actor]; ok && kept < shred.MaxSubjects {
			kept++
			continue
		}
		p[countersign.Actor{}] = append(p[countersign.Actor{}], p[actor]...)
		delete(p, actor)
	}
}

func (p people) add(who countersign.Actor, texts ...string) {
	for _, text := range texts {
		if text = strings.TrimSpace(text); text != "" {
			p[who] = append(p[who], text)
		}
	}
}

// personal are the names of fields that hold personal data, wherever they stand; a name is somebody's where an actor stands beside it.
var personal = map[string]bool{
	"email": true, "reason": true, "digest": true, "ip": true, "userAgent": true, "idToken": true, "salt": true,
	"stamp":   true, // of a decision: it has its digest, in binary
	"problem": true, // of a message that wasn't delivered: a mail server answers with the address
}

// walk looks through a payload. Who a value is about is the actor beside it, or else the one that it stands in.
func (p people) walk(v any, about countersign.Actor) {
	switch v := v.(type) {
	case []any:
		for _, each := range v {
			p.walk(each, about)
		}
	case map[string]any:
		if who, ok := actorIn(v); ok {
			p.add(who, who.Subject)
			return
		}
		about = p.owner(v, about)
		for name, value := range v {
			text, isText := value.(string)
			switch {
			case name == "salt", isText && name == "plan":
				// The plan's digest is in what the context's digest, which is in the tenant's log, is made of: with the salt gone, neither confirms a guess.
				p.add(countersign.Actor{}, text)
			case isText && name == "recipient":
				// Somebody who covers is named by the message that they got, and perhaps nowhere else.
				if who, ok := countersign.ParseActor(text); ok {
					p.add(who, who.Subject)
				}
			case name == "grants":
				p.digests(value)
				p.walk(value, about)
			case isText && (personal[name] || name == "name" && v["actor"] != nil):
				p.add(about, text)
			case name == "key" && v["idToken"] != nil, name == "assertion", name == "publicKey" && v["id"] != nil:
				// What a person's own key signed, and the key.
				p.leaves(value, about)
			default:
				p.walk(value, about)
			}
		}
	}
}

// owner is whom the fields of an object are about.
func (p people) owner(v map[string]any, about countersign.Actor) countersign.Actor {
	if token, ok := v["idToken"].(string); ok {
		if who, ok := tokenOf(token); ok {
			return who
		}
	}
	for _, name := range []string{"actor", "decision", "enrolment", "acceptance", "grant", "requester"} {
		inner, ok := v[name].(map[string]any)
		if !ok {
			continue
		}
		if who, ok := actorIn(inner); ok {
			return who
		}
		for _, name := range []string{"actor", "grantee", "delegator"} {
			if who, ok := actorIn(inner[name]); ok {
				return who
			}
		}
	}
	return about
}

// digests are those of grants: they are of what two people agreed, and a guess of who they are could be compared with them.
func (p people) digests(v any) {
	list, _ := v.([]any)
	for _, each := range list {
		if text, ok := each.(string); ok {
			p.add(countersign.Actor{}, text)
		}
	}
}

// leaves are all strings in a value that are long enough to be somebody's.
func (p people) leaves(v any, about countersign.Actor) {
	switch v := v.(type) {
	case string:
		if len(v) >= 16 {
			p.add(about, v)
		}
	case []any:
		for _, each := range v {
			p.leaves(each, about)
		}
	case map[string]any:
		for _, each := range v {
			p.leaves(each, about)
		}
	}
}

func actorIn(v any) (countersign.Actor, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return countersign.Actor{}, false
	}
	issuer, has := m["iss"].(string)
	subject, is := m["sub"].(string)
	return countersign.Actor{Issuer: issuer, Subject: subject}, has && is && len(m) == 2
}

// tokenOf is whom an ID token is about; whether it is genuine is not asked here.
func tokenOf(token string) (countersign.Actor, bool) {
	_, rest, _ := strings.Cut(token, ".")
	claims, _, ok := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(claims)
	var c struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	if !ok || err != nil || json.Unmarshal(raw, &c) != nil || c.Issuer == "" || c.Subject == "" {
		return countersign.Actor{}, false
	}
	return countersign.Actor{Issuer: c.Issuer, Subject: c.Subject}, true
}

// walkPayloads calls each payload in a message.
func walkPayloads(m protoreflect.Message, each func(*commonpb.Payload)) {
	if payload, ok := m.Interface().(*commonpb.Payload); ok {
		each(payload)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { walkPayloads(v.Message(), each); return true })
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				walkPayloads(v.List().Get(i).Message(), each)
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			walkPayloads(v.Message(), each)
		}
		return true
	})
}

// impersonal are the files in which no personal data is looked for: the document, and what is the same for many signings.
func impersonal(name string) bool {
	return strings.HasPrefix(name, "META-INF/") || strings.HasPrefix(name, "document") || name == mimetypeName || name == "policy/policy.cedar"
}

var base64Field = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"data": "([A-Za-z0-9+/=]*)"`) })

// Windows are the parts of a bundle in which personal data is looked for: its files, and what the readable twin of the history has as base64.
func Windows(raw []byte) ([]shred.Window, error) {
	b, err := OpenBundle(raw)
	if err != nil {
		return nil, err
	}
	var windows []shred.Window
	at := localHeader + len(mimetypeName) + len(mimetypeValue)
	for _, f := range b.Files() {
		at += localHeader + len(f.Name)
		if !impersonal(f.Name) && len(f.Bytes) > 0 {
			windows = append(windows, shred.Window{Offset: at, Length: len(f.Bytes)})
		}
		if f.Name == historyJSONFile {
			for _, m := range base64Field().FindAllSubmatchIndex(f.Bytes, -1) {
				windows = append(windows, shred.Window{Offset: at + m[2], Length: m[3] - m[2], Base64: true})
			}
		}
		at += len(f.Bytes)
	}
	return windows, nil
}

// localHeader is what stands before an entry and its name in a container, in bytes: it has no extra fields (APPNOTE 4.3.7).
const localHeader = 30
