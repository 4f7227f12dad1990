package pades

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
	if f.first, err = f.page(root, false); err != nil {
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
	f.certified = true
	return f.permits(certification)
}

// changeable is the object of a value that the update will write anew.
func changeable(v found) (*object, error) {
	if v.in.num <= 0 || v.in.stream >= 0 {
		return nil, because(ErrBroken, "an object that must be changed has no number of its own, or is a stream")
	}
	return v.in, nil
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
	if f.first.shares(list) {
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
		p, ok, err := f.entry(lock, "P")
		if err != nil || ok && p.value.n == 1 {
			if err == nil {
				err = ErrCertified
			}
			return err
		}
		f.certified = f.certified || ok
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
		f.certified = f.certified || method.value.text == "DocMDP"
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
		} else if ok {
			f.certified = true
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
