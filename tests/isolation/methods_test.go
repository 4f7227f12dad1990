package isolation

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/countersign-dev/countersign"
)

// senders are those who reach Temporal, with the lists of infra/temporal/testdata/methods.txt that are theirs in acme's namespace. Who has none is
// refused everything in it.
var senders = map[string][]string{
	"acme/alice":               {"anyone", "person"},
	"machine:acme/procurement": {"anyone", "requester"},
	"acme/olivia":              {"anyone", "person", "watching"},
	"nord/remy":                {"anyone", "person"},
	"platform:worker/acme":     {"anyone", "worker"},
	"platform:starter/acme":    {"anyone", "starter"},
	"platform:operator/acme":   {"anyone", "operator"},
	"platform:compliance/acme": {"anyone", "compliance"},

	"globex/gina":                nil,
	"machine:globex/procurement": nil,
	"hart/hugo":                  nil,
	"platform:worker/globex":     nil,
	"platform:starter/globex":    nil,
	"platform:operator/globex":   nil,
	"platform:compliance/globex": nil,
	"":                           nil,
	"forged":                     nil,
	"garbage":                    nil,
}

// unknown are those who have no role in any tenant: they are refused also what names no namespace.
var unknown = []string{"hart/hugo", "", "forged", "garbage"}

// method is one operation of the server.
type method struct {
	service, name string
	input         protoreflect.MessageDescriptor // nil where the product doesn't know it
	roles         []string                       // who may, by the reviewed list
}

// methods are all that the server offers: what it describes, with the reviewed list of who may. Each has to be in both.
func methods(t *testing.T) (all []method) {
	t.Helper()
	raw, err := os.ReadFile("../../infra/temporal/testdata/methods.txt")
	if err != nil {
		t.Fatal(err)
	}
	services := map[string]protoreflect.ServiceDescriptor{
		"WorkflowService": workflowservice.File_temporal_api_workflowservice_v1_service_proto.Services().Get(0),
		"OperatorService": operatorservice.File_temporal_api_operatorservice_v1_service_proto.Services().Get(0),
	}
	listed := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		path, roles, _ := strings.Cut(line, ":")
		service, name, _ := strings.Cut(path, "/")
		m := method{service: "temporal.server.api.adminservice.v1." + service, name: name, roles: strings.Fields(roles)}
		if s, known := services[service]; known {
			m.service = string(s.FullName())
			if d := s.Methods().ByName(protoreflect.Name(name)); d != nil {
				m.input = d.Input()
			}
		}
		listed[m.service+"/"+name] = true
		all = append(all, m)
	}
	for _, s := range services {
		for i := range s.Methods().Len() {
			if path := string(s.FullName()) + "/" + string(s.Methods().Get(i).Name()); !listed[path] {
				t.Errorf("%s is on no list: review it in infra/temporal", path)
			}
		}
	}
	return all
}

// TestR10_EveryMethodOfTheServerIsOnAList needs no stack.
func TestR10_EveryMethodOfTheServerIsOnAList(t *testing.T) {
	t.Parallel()
	for _, m := range methods(t) {
		if m.input == nil && !strings.HasSuffix(m.service, "AdminService") {
			t.Errorf("the list names %s/%s, which the server doesn't have", m.service, m.name)
		}
	}
}

// target is what a call is about: its namespace, and the execution wherever it names one.
type target struct{ namespace, workflow, run, queue string }

// about fills in what a request of any kind is about.
func about(m protoreflect.Message, to target, depth int) {
	texts := map[protoreflect.Name]string{"namespace": to.namespace, "workflow_id": to.workflow, "run_id": to.run}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.IsList() || f.IsMap() {
			continue
		}
		switch text, known := texts[f.Name()]; {
		case known && f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(text))
		case f.Kind() == protoreflect.MessageKind && f.Name() == "task_queue" && f.Message().Fields().ByName("name") != nil:
			m.Mutable(f).Message().Set(f.Message().Fields().ByName("name"), protoreflect.ValueOfString(to.queue))
		case f.Kind() == protoreflect.MessageKind && depth > 0 && slices.Contains([]protoreflect.Name{"workflow_execution", "execution", "update_ref"}, f.Name()):
			about(m.Mutable(f).Message(), to, depth-1)
		}
	}
}

// reply is all that a sender sees of a call.
type reply struct {
	code codes.Code
	text string
}

// send calls a method as somebody.
func (w *world) send(who string, m method, to target, within time.Duration) (reply, error) {
	ctx, cancel := context.WithTimeout(w.ctx, within)
	defer cancel()
	token, err := w.token(ctx, who)
	if err != nil {
		return reply{}, err
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	var in proto.Message = &emptypb.Empty{}
	if m.input != nil {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(m.input.FullName())
		if err != nil {
			return reply{}, err
		}
		in = kind.New().Interface()
		about(in.ProtoReflect(), to, 2)
	}
	// What the answer is, is not needed: unknown fields keep every byte.
	out := &emptypb.Empty{}
	var header, trailer metadata.MD
	err = w.conn.Invoke(ctx, "/"+m.service+"/"+m.name, in, out, grpc.Header(&header), grpc.Trailer(&trailer))
	text := status.Convert(err).Proto().String() + "\n" + string(out.ProtoReflect().GetUnknown())
	for _, md := range []metadata.MD{header, trailer} {
		for _, name := range slices.Sorted(maps.Keys(md)) {
			text += "\n" + name + ": " + strings.Join(md[name], ", ")
		}
	}
	return reply{status.Code(err), text}, nil
}

// TestR10_R20_TheMatrixOfTheServer puts each sender before each method of Temporal's services, about acme's open signing. Whoever has no role in acme
// has the same answer as for a namespace that doesn't exist.
func TestR10_R20_TheMatrixOfTheServer(t *testing.T) {
	w := shared(t)
	theirs := target{"acme", countersign.SagaID("acme", w.open.Request.ID), w.status.Saga.Run, "nobody's"}
	nowhere := target{"nowhere", theirs.workflow, theirs.run, theirs.queue}
	// Whoever may is asked about nothing, so that nothing ends.
	absent := target{"acme", "absent", "", "nobody's"}
	places := make(chan struct{}, 16)
	var wait sync.WaitGroup
	for _, m := range methods(t) {
		stream := strings.HasPrefix(m.name, "Stream") // the tests of infra/temporal call those
		for who, lists := range senders {
			if stream {
				continue
			}
			places <- struct{}{}
			wait.Go(func() {
				defer func() { <-places }()
				cell := who + " " + m.service + "/" + m.name
				if lists != nil {
					w.own(t, cell, who, m, lists, absent)
					return
				}
				got, err := w.send(who, m, theirs, 10*time.Second)
				if err != nil {
					t.Errorf("%s: %v", cell, err)
					return
				}
				if found := w.leak(got.text); found != "" {
					t.Errorf("%s tells %q of acme's", cell, found)
				}
				// What names no namespace is about the server alone.
				if (m.name == "GetSystemInfo" || m.name == "GetClusterInfo") && !slices.Contains(unknown, who) {
					if got.code != codes.OK {
						t.Errorf("%s answers %s", cell, got.text)
					}
					return
				}
				if got.code != codes.PermissionDenied {
					t.Errorf("%s answers %s: %s; want it refused", cell, got.code, got.text)
				}
				if not, err := w.send(who, m, nowhere, 10*time.Second); err != nil || not != got {
					t.Errorf("%s can tell acme's namespace from one that doesn't exist (%v):\n%s\n%s", cell, err, got.text, not.text)
				}
			})
		}
	}
	wait.Wait()
	w.unchanged(t)
}

// own asks as somebody who has a role in acme: what is on none of its lists is refused, what is there without a check of its content is not.
func (w *world) own(t *testing.T, cell, who string, m method, lists []string, about target) {
	listed, checked := false, false
	for _, role := range m.roles {
		name, ofContent := strings.CutSuffix(role, "(checked)")
		if slices.Contains(lists, name) {
			listed, checked = true, checked || ofContent
		}
	}
	if checked {
		return // the tests of infra/temporal send contents
	}
	within := 10 * time.Second
	if listed && strings.HasPrefix(m.name, "Poll") {
		within = 300 * time.Millisecond // it waits for what never comes
	}
	got, err := w.send(who, m, about, within)
	if err != nil {
		t.Errorf("%s: %v", cell, err)
		return
	}
	if denied := got.code == codes.PermissionDenied; denied == listed {
		t.Errorf("%s answers %s, want allowed %v", cell, got.code, listed)
	}
}
