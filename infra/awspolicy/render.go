package awspolicy

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
)

// A template is what Terraform's templatefile reads, and no more of it than this: ${name} is replaced, $${ stands for ${. Terraform's
// directives (%{...}) and expressions are refused, so that both renderers write the same bytes.
var (
	placePattern    = regexp.MustCompile(`\$\$\{|\$\{([^}]*)\}|%\{`)
	variablePattern = regexp.MustCompile(`^[a-z][a-z_]*$`)
	// What a value may hold needs no escaping in JSON and is no wildcard, so that it can't widen a policy.
	valuePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:/._-]{0,255}$`)
)

// maxPolicy bounds a policy, in bytes. The largest that AWS takes is a key policy of 32 KiB.
const maxPolicy = 32 << 10

// Variables lists the variables of a template, sorted.
func Variables(name string, template []byte) ([]string, error) {
	found := map[string]bool{}
	_, err := replace(name, template, func(variable string) (string, error) {
		found[variable] = true
		return "x", nil
	})
	var all []string
	for variable := range found {
		all = append(all, variable)
	}
	slices.Sort(all)
	return all, err
}

// Render fills in a template. Each variable in it must be given; of those that are given, some may be for other templates. An error says where.
func Render(name string, template []byte, values map[string]string) ([]byte, error) {
	return replace(name, template, func(variable string) (string, error) {
		value, given := values[variable]
		if !given {
			return "", fmt.Errorf("no value is given for ${%s}", variable)
		}
		if !valuePattern.MatchString(value) {
			return "", fmt.Errorf("the value of ${%s} must be letters, digits and :/._- (256 at most)", variable)
		}
		return value, nil
	})
}

func replace(name string, template []byte, value func(string) (string, error)) ([]byte, error) {
	if len(template) > maxPolicy {
		return nil, fmt.Errorf("couldn't render %s: it has more than %d bytes", name, maxPolicy)
	}
	var out bytes.Buffer
	at := 0
	for _, m := range placePattern.FindAllSubmatchIndex(template, -1) {
		out.Write(template[at:m[0]])
		at = m[1]
		var text string
		var err error
		switch whole := string(template[m[0]:m[1]]); {
		case whole == "$${":
			text = "${"
		case whole == "%{":
			err = fmt.Errorf("directives (%%{...}) aren't known")
		default:
			variable := string(template[m[2]:m[3]])
			if !variablePattern.MatchString(variable) {
				err = fmt.Errorf("%.60q is no plain variable; write $${...} for a variable of IAM", whole)
			} else {
				text, err = value(variable)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("couldn't render %s:%d: %w", name, lineAt(template, m[0]), err)
		}
		out.WriteString(text)
	}
	out.Write(template[at:])
	return out.Bytes(), nil
}

func lineAt(text []byte, offset int) int { return 1 + bytes.Count(text[:offset], []byte("\n")) }
