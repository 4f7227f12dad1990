package pades

import "slices"

// Bounds on trees.
const (
	maxFields   = 20_000
	maxTreeWalk = 10_000 // nodes of the page tree before the first page
	maxTree     = 64     // deep
)

// inspect looks for what the update will touch, and for what forbids it.
func (f *File) inspect() error {
	trailer := found{f.trailer.value, f.trailer}
	root, ok, err := f.dict(trailer, "Root")
	if err != nil {
		return err
	}
	if named, _ := f.trailer.value.get("Root"); !ok || named.kind != isRef {
		return because(ErrBroken, "its trailer names no catalog")
	}
	if f.catalog, err = changeable(root); err != nil {
		return err
	}
	if dynamic, ok, err := f.entry(root, "NeedsRendering"); err != nil || ok && dynamic.value.n != 0 {
		if err == nil {
			err = ErrDynamic
		}
		return err
	}
	if err := f.firstPage(root); err != nil {
		return err
	}
	if err := f.openForm(root); err != nil {
		return err
	}
	perms, ok, err := f.dict(root, "Perms")
	if err != nil || !ok {
		return err
	}
	certification, ok, err := f.dict(perms, "DocMDP")
	if err != nil || !ok {
		return err
	}
	return f.permits(certification)
}

// changeable is the object of a value that the update will write anew.
func changeable(v found) (*object, error) {
	if v.in.num <= 0 || v.in.stream >= 0 {
		return nil, because(ErrBroken, "an object that must be changed has no number of its own, or is a stream")
	}
	return v.in, nil
}

// node is a reference to a part of the page tree.
type node struct {
	ref   value
	in    *object
	depth int
}

// firstPage walks down the page tree to its first page.
func (f *File) firstPage(root found) error {
	tree, ok, err := f.dict(root, "Pages")
	if err != nil {
		return err
	}
	if !ok {
		return ErrNoPages
	}
	count, ok, err := f.entry(tree, "Count")
	if err != nil {
		return err
	}
	if !ok || count.value.kind != isInteger || count.value.n < 0 || count.value.n > maxObjects {
		return because(ErrBroken, "its page tree doesn't say how many pages there are")
	}
	if f.Pages = int(count.value.n); f.Pages == 0 {
		return ErrNoPages
	}
	seen := map[int64]bool{}
	// The last of todo is next: the first page in the order of the tree.
	for todo := []node{{tree.value, tree.in, 0}}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if len(seen) > maxTreeWalk || n.depth > maxTree {
			return because(ErrBounds, "its page tree is too large before the first page")
		}
		at, err := f.resolve(n.ref, n.in)
		if err != nil {
			return err
		}
		if seen[at.in.num] || at.value.kind != isDict || at.value.twice {
			return because(ErrBroken, "its page tree is no tree of dictionaries")
		}
		seen[at.in.num] = true
		kids, ok, err := f.entry(at, "Kids")
		if err != nil {
			return err
		}
		if !ok {
			return f.usePage(at)
		}
		if kids.value.kind != isArray {
			return because(ErrBroken, "its page tree is no tree of dictionaries")
		}
		// Empty branches before the first page are rare: a few kids are enough.
		few := kids.value.items[:min(len(kids.value.items), 64)]
		for _, kid := range slices.Backward(few) {
			if kid.kind != isRef {
				return because(ErrBroken, "its page tree is no tree of dictionaries")
			}
			todo = append(todo, node{kid, kids.in, n.depth + 1})
		}
	}
	return ErrNoPages
}

func (f *File) usePage(page found) error {
	if kind, _ := page.value.get("Type"); kind.text != "Page" {
		return because(ErrBroken, "its first page is no page")
	}
	var err error
	if f.page, err = changeable(page); err != nil {
		return err
	}
	list, ok, err := f.entry(page, "Annots")
	if err != nil || !ok {
		return err
	}
	if list.value.kind != isArray {
		return because(ErrBroken, "/Annots of its first page is no array")
	}
	_, err = changeable(list)
	f.annotations = &list
	return err
}

// openForm looks at the form, if there is one: its fields' names, and what earlier signatures allow.
func (f *File) openForm(root found) error {
	form, ok, err := f.dict(root, "AcroForm")
	if err != nil || !ok {
		return err
	}
	if _, err := changeable(form); err != nil {
		return err
	}
	f.form = &form
	list, ok, err := f.entry(form, "Fields")
	if err != nil || !ok {
		return err
	}
	if list.value.kind != isArray {
		return because(ErrBroken, "/Fields of its form is no array")
	}
	if _, err := changeable(list); err != nil {
		return err
	}
	f.fields = &list
	if f.annotations != nil && f.annotations.in.num == list.in.num && f.annotations.value.start == list.value.start {
		return because(ErrBroken, "its form and its first page share one list")
	}
	return f.walkFields(list)
}

func (f *File) walkFields(list found) error {
	type level struct {
		items []value
		in    *object
		depth int
	}
	total := 0
	for todo := []level{{list.value.items, list.in, 0}}; len(todo) > 0; {
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if l.depth > maxTree {
			return because(ErrBounds, "its form's fields are nested too deep")
		}
		for _, item := range l.items {
			if total++; total > maxFields {
				return because(ErrBounds, "its form has more than %d fields", maxFields)
			}
			field, err := f.resolve(item, l.in)
			if err != nil {
				return err
			}
			if field.value.kind != isDict {
				continue
			}
			if name, ok, err := f.entry(field, "T"); err != nil {
				return err
			} else if ok && l.depth == 0 {
				f.names[readable(name.value.text)] = true
			}
			if err := f.fieldPermits(field); err != nil {
				return err
			}
			kids, ok, err := f.entry(field, "Kids")
			if err != nil {
				return err
			}
			if ok && kids.value.kind == isArray {
				todo = append(todo, level{kids.value.items, kids.in, l.depth + 1})
			}
		}
	}
	return nil
}

// fieldPermits checks a field that is signed, if it is.
func (f *File) fieldPermits(field found) error {
	signature, ok, err := f.entry(field, "V")
	if err != nil || !ok || signature.value.kind != isDict {
		return err
	}
	if _, ok := signature.value.get("ByteRange"); !ok {
		return nil
	}
	f.signatureFields++
	lock, ok, err := f.entry(field, "Lock")
	if err != nil {
		return err
	}
	if ok && lock.value.kind == isDict {
		if p, ok, err := f.entry(lock, "P"); err != nil || ok && p.value.n == 1 {
			if err == nil {
				err = ErrCertified
			}
			return err
		}
	}
	return f.permits(signature)
}

// permits checks what a signature says about later changes (ISO 32000-1, 12.8.2): a new signature field is one.
func (f *File) permits(signature found) error {
	list, ok, err := f.entry(signature, "Reference")
	if err != nil || !ok {
		return err
	}
	if list.value.kind != isArray {
		return because(ErrBroken, "/Reference of a signature is no array")
	}
	for _, item := range list.value.items {
		reference, err := f.resolve(item, list.in)
		if err != nil {
			return err
		}
		method, _, err := f.entry(reference, "TransformMethod")
		if err != nil {
			return err
		}
		if method.value.text != "DocMDP" && method.value.text != "FieldMDP" {
			continue
		}
		parms, ok, err := f.entry(reference, "TransformParams")
		if err != nil {
			return err
		}
		if !ok || parms.value.kind != isDict || parms.value.twice {
			parms = found{value{kind: isDict}, reference.in}
		}
		if p, ok, err := f.entry(parms, "P"); err != nil {
			return err
		} else if ok && p.value.n == 1 {
			return ErrCertified
		}
		if method.value.text != "FieldMDP" {
			continue
		}
		action, _, err := f.entry(parms, "Action")
		if err != nil {
			return err
		}
		if action.value.text != "Include" {
			return ErrLocked
		}
		names, ok, err := f.entry(parms, "Fields")
		if err != nil {
			return err
		}
		for _, v := range names.value.items {
			if !ok {
				break
			}
			name, err := f.resolve(v, names.in)
			if err != nil {
				return err
			}
			f.names[readable(name.value.text)] = true
		}
	}
	return nil
}
