// Package terraform tests the module in this directory as far as that goes without Terraform: that it is read, that what it names is there, and
// that it applies the very files that the local stack enforces.
package terraform

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	awsfiles "github.com/countersign-dev/countersign/infra/aws"
	"github.com/countersign-dev/countersign/infra/awspolicy"
)

// module is all blocks of all files.
func module(t *testing.T) []*hclsyntax.Block {
	t.Helper()
	names, err := filepath.Glob("*.tf")
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no files: %v", err)
	}
	parser := hclparse.NewParser()
	var all []*hclsyntax.Block
	for _, name := range names {
		file, faults := parser.ParseHCLFile(name)
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		all = append(all, file.Body.(*hclsyntax.Body).Blocks...)
	}
	return all
}

// address is how expressions refer to what a block declares.
func address(b *hclsyntax.Block) []string {
	switch b.Type {
	case "variable":
		return []string{"var." + b.Labels[0]}
	case "data":
		return []string{"data." + b.Labels[0] + "." + b.Labels[1]}
	case "resource":
		return []string{b.Labels[0] + "." + b.Labels[1]}
	case "locals":
		var all []string
		for name := range b.Body.Attributes {
			all = append(all, "local."+name)
		}
		return all
	}
	return nil
}

// path is the beginning of a reference, as address writes it.
func path(t hcl.Traversal) string {
	parts := []string{t.RootName()}
	for _, step := range t[1:] {
		attribute, ok := step.(hcl.TraverseAttr)
		if !ok || len(parts) == 3 || len(parts) == 2 && parts[0] != "data" {
			break
		}
		parts = append(parts, attribute.Name)
	}
	return strings.Join(parts, ".")
}

func TestWhatTheModuleNamesIsThere(t *testing.T) {
	t.Parallel()
	blocks := module(t)
	declared, used := map[string]bool{}, map[string]bool{}
	for _, b := range blocks {
		for _, name := range address(b) {
			if declared[name] {
				t.Errorf("%s is declared twice", name)
			}
			declared[name] = true
		}
	}
	for _, b := range blocks {
		// Of the language, and of a dynamic block.
		own := []string{"each", "path", "string", "number", "bool", "rule"}
		for _, reference := range references(b.Body) {
			name := path(reference)
			if slices.Contains(own, reference.RootName()) {
				continue
			}
			if !declared[name] {
				t.Errorf("%s refers to %s, which is not declared", reference.SourceRange(), name)
			}
			if !slices.Contains(address(b), name) {
				used[name] = true
			}
		}
	}
	for name := range declared {
		if (strings.HasPrefix(name, "var.") || strings.HasPrefix(name, "local.") || strings.HasPrefix(name, "data.")) && !used[name] {
			t.Errorf("nothing uses %s", name)
		}
	}
}

// references are all that a body's expressions refer to. A provider in required_providers is no reference.
func references(body *hclsyntax.Body) (all []hcl.Traversal) {
	for _, a := range body.Attributes {
		all = append(all, a.Expr.Variables()...)
	}
	for _, b := range body.Blocks {
		all = append(all, references(b.Body)...)
	}
	return all
}

// TestR10_TerraformAppliesEachPolicyWithAllItsVariables finds each call of templatefile, and what it gives.
func TestR10_TerraformAppliesEachPolicyWithAllItsVariables(t *testing.T) {
	t.Parallel()
	blocks := module(t)
	common := map[string]bool{}
	for _, b := range blocks {
		if a := b.Body.Attributes["common"]; b.Type == "locals" && a != nil {
			common = keysOf(t, a.Expr)
		}
	}
	wanted := map[string]string{ // which attribute of which resource
		awsfiles.Key: "aws_kms_key policy", awsfiles.DocumentsBucket: "aws_s3_bucket_policy policy", awsfiles.EvidenceBucket: "aws_s3_bucket_policy policy",
		awsfiles.WorkerRole: "aws_iam_role_policy policy", awsfiles.StarterRole: "aws_iam_role_policy policy", awsfiles.RoleTrust: "aws_iam_role assume_role_policy",
	}
	templates, err := fs.Glob(awsfiles.Files, "*.json")
	if err != nil || len(templates) != len(wanted) {
		t.Fatalf("infra/aws has %v (%v)", templates, err)
	}
	applied, useful := map[string]string{}, map[string]bool{}
	for _, b := range blocks {
		for attribute, a := range b.Body.Attributes {
			call, ok := a.Expr.(*hclsyntax.FunctionCallExpr)
			if !ok || call.Name != "templatefile" {
				continue
			}
			where, _ := strings.CutPrefix(templateOf(t, call.Args[0]), "/../aws/")
			applied[where] = b.Labels[0] + " " + attribute
			text, err := awsfiles.Files.ReadFile(where)
			if err != nil {
				t.Errorf("%s: %v", a.Range(), err)
				continue
			}
			given := maps.Clone(common)
			if merge, ok := call.Args[1].(*hclsyntax.FunctionCallExpr); ok && merge.Name == "merge" && len(merge.Args) == 2 && isCommon(merge.Args[0]) {
				maps.Copy(given, keysOf(t, merge.Args[1]))
			} else if !isCommon(call.Args[1]) {
				t.Errorf("%s: the values must be local.common, or merge(local.common, {...})", a.Range())
			}
			variables, err := awspolicy.Variables(where, text)
			if err != nil {
				t.Fatal(err)
			}
			for _, variable := range variables {
				useful[variable] = true
				if !given[variable] {
					t.Errorf("%s doesn't give ${%s} to %s", a.Range(), variable, where)
				}
			}
			for variable := range given {
				if !common[variable] && !slices.Contains(variables, variable) {
					t.Errorf("%s gives ${%s} to %s, which has no use for it", a.Range(), variable, where)
				}
			}
		}
	}
	if !maps.Equal(applied, wanted) {
		t.Errorf("applied are %v, want %v", applied, wanted)
	}
	for variable := range common {
		if !useful[variable] {
			t.Errorf("no file has a use for local.common.%s", variable)
		}
	}
}

func isCommon(e hclsyntax.Expression) bool {
	reference, ok := e.(*hclsyntax.ScopeTraversalExpr)
	return ok && path(reference.Traversal) == "local.common"
}

func keysOf(t *testing.T, e hclsyntax.Expression) map[string]bool {
	t.Helper()
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		t.Fatalf("%s is no object", e.Range())
	}
	keys := map[string]bool{}
	for _, item := range object.Items {
		key, faults := item.KeyExpr.Value(nil)
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		keys[key.AsString()] = true
	}
	return keys
}

// templateOf is the text after ${path.module}.
func templateOf(t *testing.T, e hclsyntax.Expression) string {
	t.Helper()
	value, faults := e.Value(&hcl.EvalContext{Variables: map[string]cty.Value{"path": cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal("")})}})
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	return value.AsString()
}

// TestTerraformsTemplatesAndOursAreTheSame renders each file with Terraform's own language, and compares the bytes with what the local stack enforces.
func TestTerraformsTemplatesAndOursAreTheSame(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"account": "111122223333", "region": "eu-central-1", "tenant": "acme", "process": "arn:aws:iam::111122223333:role/workers",
		"documents_bucket": "d-1", "evidence_bucket": "e-1", "minimum_retention_days": "3650", "plain_http_from": "255.255.255.255/32",
	}
	theirs := map[string]cty.Value{}
	for name, value := range values {
		theirs[name] = cty.StringVal(value)
	}
	theirs["minimum_retention_days"] = cty.NumberIntVal(3650)
	templates, err := fs.Glob(awsfiles.Files, "*.json")
	if err != nil || len(templates) == 0 {
		t.Fatal(templates, err)
	}
	for _, name := range templates {
		text, err := awsfiles.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := awspolicy.Render(name, text, values)
		if err != nil {
			t.Fatal(err)
		}
		expression, faults := hclsyntax.ParseTemplate(text, name, hcl.InitialPos)
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		value, faults := expression.Value(&hcl.EvalContext{Variables: theirs})
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		if value.AsString() != string(ours) {
			t.Errorf("%s: Terraform renders\n%s\nand we\n%s", name, value.AsString(), ours)
		}
	}
}
