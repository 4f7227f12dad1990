package vectors

import (
	"slices"
	"strings"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// eventChange is one change of what a history says beside its payloads: which events there are, in which order, when, and by whom.
type eventChange struct {
	name string
	make func(*historypb.History)
}

// eventChanges are all of a history that this harness knows, each once for a kind of event.
func eventChanges(h *historypb.History) (list []eventChange) {
	seen := map[string]bool{}
	add := func(name string, change func(*historypb.History)) {
		if !seen[name] {
			seen[name] = true
			list = append(list, eventChange{name, change})
		}
	}
	kinds := kindsOf(h)
	for i := range h.Events {
		kind := kinds[i]
		for name, by := range map[string]time.Duration{"later": 2 * time.Hour, "earlier": -2 * time.Hour} {
			add(kind+" "+name, func(h *historypb.History) {
				h.Events[i].EventTime = timestamppb.New(h.Events[i].EventTime.AsTime().Add(by))
			})
		}
		add(kind+" by somebody else", func(h *historypb.History) {
			if p := h.Events[i].Principal; p != nil {
				p.Name += "0"
			}
		})
		add(kind+" by nobody", func(h *historypb.History) { h.Events[i].Principal = nil })
		add(kind+" removed", func(h *historypb.History) { h.Events = slices.Delete(h.Events, i, i+1); renumber(h) })
		add(kind+" doubled", func(h *historypb.History) {
			h.Events = slices.Insert(h.Events, i, proto.Clone(h.Events[i]).(*historypb.HistoryEvent))
			h.Events[i].EventId = -1
			renumber(h)
		})
		if i+1 < len(h.Events) {
			add(kind+" after "+kinds[i+1], func(h *historypb.History) {
				h.Events[i], h.Events[i+1] = h.Events[i+1], h.Events[i]
				renumber(h)
			})
		}
		if strings.HasPrefix(kind, "signal ") {
			add(kind+" removed with its check", func(h *historypb.History) { without(h, i) })
		}
	}
	add("all two hours later", func(h *historypb.History) {
		for _, e := range h.Events {
			e.EventTime = timestamppb.New(e.EventTime.AsTime().Add(2 * time.Hour))
		}
	})
	return list
}

// kindsOf names events as a reader of the format would: by what they are and whose.
func kindsOf(h *historypb.History) (kinds []string) {
	scheduled := map[int64]string{}
	for _, e := range h.Events {
		kind := strings.ToLower(strings.TrimPrefix(e.EventType.String(), "EVENT_TYPE_"))
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			scheduled[e.EventId] = a.GetActivityType().GetName()
			kind = scheduled[e.EventId] + " asked"
		}
		if a := e.GetActivityTaskStartedEventAttributes(); a != nil {
			kind = scheduled[a.ScheduledEventId] + " begun"
		}
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil {
			kind = scheduled[a.ScheduledEventId] + " ended"
		}
		if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
			kind = "signal " + a.SignalName
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// without leaves a signal out, with the check of it.
func without(h *historypb.History, signal int) {
	gone := map[int64]bool{h.Events[signal].EventId: true}
	for _, e := range h.Events[signal:] {
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil && strings.HasPrefix(a.GetActivityType().GetName(), "Check") {
			gone[e.EventId] = true
			for _, o := range h.Events {
				if o.GetActivityTaskStartedEventAttributes().GetScheduledEventId() == e.EventId || o.GetActivityTaskCompletedEventAttributes().GetScheduledEventId() == e.EventId {
					gone[o.EventId] = true
				}
			}
			break
		}
	}
	h.Events = slices.DeleteFunc(h.Events, func(e *historypb.HistoryEvent) bool { return gone[e.EventId] })
	renumber(h)
}

// renumber numbers events anew, and what refers to them.
func renumber(h *historypb.History) {
	number := map[int64]int64{}
	for i, e := range h.Events {
		if e.EventId > 0 {
			number[e.EventId] = int64(i) + 1
		}
	}
	for i, e := range h.Events {
		e.EventId = int64(i) + 1
		e.ProtoReflect().Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if m, ok := v.Interface().(protoreflect.Message); ok {
				m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
					if f.Kind() == protoreflect.Int64Kind && strings.HasSuffix(string(f.Name()), "event_id") && number[v.Int()] > 0 {
						m.Set(f, protoreflect.ValueOfInt64(number[v.Int()]))
					}
					return true
				})
			}
			return true
		})
	}
}
