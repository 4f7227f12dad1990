package pades

import "fmt"

// structure puts the field into the structure of a tagged document, as a form field that is told with its description, and returns what the field has to
// say of it. The document's own elements stay as they are. It leaves out what it can't add by adding alone, and changes nothing in a document that somebody
// signed before: no signature allows that.
func (w *writer) structure(v *shown, said string) string {
	f := w.f
	tree, ok, err := f.dict(found{f.catalog.value, f.catalog}, "StructTreeRoot")
	if err != nil || !ok || f.signatureFields > 0 || !addable(tree) {
		return ""
	}
	parents, ok, err := f.dict(tree, "ParentTree")
	if err != nil || !ok || !addable(parents) {
		return ""
	}
	above := f.topElement(tree)
	key, list, leaf := f.nextKey(tree, parents)
	children, many, err := f.entry(above, "K")
	if err != nil || key < 0 || !addable(above) || many && children.value.kind == isArray && !addable(children) {
		return ""
	}
	element := v.add(fmt.Sprintf("<< /Type /StructElem /S /Form /P %d %d R /Pg %d %d R /Alt %s /K << /Type /OBJR /Obj %d 0 R >> >>",
		above.in.num, above.in.gen, w.page.object.num, w.page.object.gen, said, w.field))
	ref := fmt.Sprintf("%d 0 R", element)
	switch own, _ := above.value.get("K"); {
	case !many:
		w.set(above.in, above.value, "K", "[ "+ref+" ]")
	case children.value.kind == isArray:
		w.add(children.in, children.value, ref)
	default:
		w.set(above.in, above.value, "K", "[ "+string(above.in.text[own.start:own.end])+" "+ref+" ]")
	}
	if leaf {
		w.add(list.in, list.value, fmt.Sprintf("%d %s", key, ref))
	} else {
		w.add(list.in, list.value, fmt.Sprintf("%d 0 R", v.add(fmt.Sprintf("<< /Limits [ %d %d ] /Nums [ %d %s ] >>", key, key, key, ref))))
	}
	w.set(tree.in, tree.value, "ParentTreeNextKey", fmt.Sprint(key+1))
	if _, ok := w.page.object.value.get("Tabs"); !ok {
		w.set(w.page.object, w.page.object.value, "Tabs", "/S") // PDF/UA: the order of the structure
	}
	return fmt.Sprintf(" /StructParent %d", key)
}

func addable(v found) bool {
	_, err := changeable(v)
	return err == nil
}

// topElement is the one element of the document that all others are in, where there is one, and else the root of the structure.
func (f *File) topElement(tree found) found {
	top, ok, err := f.entry(tree, "K")
	if err != nil || !ok {
		return tree
	}
	if top.value.kind == isArray {
		if len(top.value.items) != 1 {
			return tree
		}
		if top, err = f.resolve(top.value.items[0], top.in); err != nil {
			return tree
		}
	}
	if kind, _ := top.value.get("S"); top.value.kind != isDict || top.value.twice || kind.text != "Document" || top.value.start != top.in.value.start {
		return tree
	}
	return top
}

// maxParentKey bounds the keys of the tree that leads from content to its elements.
const maxParentKey = 1 << 30

// nextKey is a key that the tree of parents doesn't have yet, larger than all others, and the list that it belongs into: a leaf's, or one of branches. It
// is negative where the tree can't be added to.
func (f *File) nextKey(tree, parents found) (key int64, list found, leaf bool) {
	if next, ok, err := f.entry(tree, "ParentTreeNextKey"); err == nil && ok && next.value.kind == isInteger {
		key = next.value.n
	}
	list, leaf, err := f.entry(parents, "Nums")
	var last value
	switch {
	case err != nil:
		return -1, list, false
	case leaf:
		if n := len(list.value.items); list.value.kind != isArray || n%2 != 0 {
			return -1, list, false
		} else if n > 0 {
			last = list.value.items[n-2]
		}
	default:
		var ok bool
		if list, ok, err = f.entry(parents, "Kids"); err != nil || !ok || list.value.kind != isArray || len(list.value.items) == 0 {
			return -1, list, false
		}
		branch, err := f.resolve(list.value.items[len(list.value.items)-1], list.in)
		if err != nil {
			return -1, list, false
		}
		limits, ok, err := f.entry(branch, "Limits")
		if err != nil || !ok || len(limits.value.items) != 2 {
			return -1, list, false
		}
		last = limits.value.items[1]
	}
	if last.kind != isNull && last.kind != isInteger || !addable(list) {
		return -1, list, false
	}
	if last.kind == isInteger {
		key = max(key, last.n+1)
	}
	if key < 0 || key > maxParentKey {
		return -1, list, false
	}
	return key, list, leaf
}
