package policy

import (
	"maps"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// What the schema promises is there when a question is asked, with that type: a policy that validates doesn't fail.
func TestQuestionsHaveWhatTheSchemaPromises(t *testing.T) {
	t.Parallel()
	schema, err := vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(Default())
	if err != nil {
		t.Fatal(err)
	}
	v := validate.New(schema)
	u := newUniverse(e)
	for _, s := range u.starts {
		request, entities := u.question(s.at).cedar()
		if err := v.Request(request); err != nil {
			t.Errorf("%s: %v", s.says, err)
		}
		for _, entity := range entities {
			promised := schema.Entities[entity.UID.Type].Shape
			kept := types.RecordMap{}
			for name, value := range maps.Collect(entity.Attributes.All()) {
				if _, ok := promised[name]; ok {
					kept[name] = value
				}
			}
			entity.Attributes = types.NewRecord(kept)
			if err := v.Entity(entity); err != nil {
				t.Errorf("%s: %v", s.says, err)
			}
		}
	}
}
