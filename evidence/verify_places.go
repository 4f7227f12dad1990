package evidence

import "fmt"

// places checks that a bundle has the files that it must have, none that it may not, and in their one order: who reads it in another order, or takes a file that
// is missing for an empty one, must not find something else. derived are the files that follow from the history.
func (v *verifier) places(derived []File) error {
	inside := v.c.signedInside()
	type place struct {
		name      string
		may, must bool
	}
	// Whether document and signature have to be there is for their own checks.
	order := []place{{documentFile, !v.releasedInside(), false}, {signedFile, inside, false}, {signatureFile, !inside, false}}
	for _, f := range derived {
		order = append(order, place{f.Name, true, true})
	}
	for _, name := range []string{historyFile, historyJSONFile, workerFile, keyFile} {
		order = append(order, place{name, true, true})
	}
	order = append(order, place{postQuantumListFile, true, false}, place{postQuantumSignatureFile, true, false})

	known := map[string]bool{}
	for _, p := range order {
		known[p.name] = p.may
	}
	files := v.b.Files()
	for _, f := range files {
		if !known[f.Name] {
			return fmt.Errorf("%s doesn't belong into this bundle", f.Name)
		}
	}
	for _, p := range order {
		switch {
		case len(files) > 0 && files[0].Name == p.name:
			files = files[1:]
		case p.must:
			if _, err := v.file(p.name); err != nil {
				return err
			}
			return fmt.Errorf("%s is not in its place", p.name)
		}
	}
	if len(files) > 0 {
		return fmt.Errorf("%s is not in its place", files[0].Name)
	}
	return nil
}
