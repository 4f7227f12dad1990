package pades

import "slices"

// leaf is a page, and what it takes over from the branches above it.
type leaf struct {
	object      *object
	annotations *found // nil where it has none yet
	inherited   map[string]found
}

// shares says whether a list is the page's list of annotations as well.
func (l leaf) shares(list found) bool {
	return l.annotations != nil && l.annotations.in.num == list.in.num && l.annotations.value.start == list.value.start
}

// node is a reference to a part of the page tree.
type node struct {
	ref       value
	in        *object
	depth     int
	inherited map[string]found
}

// inheritable are the entries of a page that a branch may have in its place (ISO 32000-1, 7.7.3.4), of those that matter here.
var inheritable = []string{"MediaBox", "CropBox", "Rotate"}

// page walks down the page tree to its first page, or to its last.
func (f *File) page(root found, last bool) (leaf, error) {
	tree, ok, err := f.dict(root, "Pages")
	if err != nil {
		return leaf{}, err
	}
	if !ok {
		return leaf{}, ErrNoPages
	}
	count, ok, err := f.entry(tree, "Count")
	if err != nil {
		return leaf{}, err
	}
	if !ok || count.value.kind != isInteger || count.value.n < 0 || count.value.n > maxObjects {
		return leaf{}, because(ErrBroken, "its page tree doesn't say how many pages there are")
	}
	if f.Pages = int(count.value.n); f.Pages == 0 {
		return leaf{}, ErrNoPages
	}
	seen := map[int64]bool{}
	// The last of todo is next.
	for todo := []node{{tree.value, tree.in, 0, nil}}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if len(seen) > maxTreeWalk || n.depth > maxTree {
			return leaf{}, because(ErrBounds, "its page tree is too large before the page that is looked for")
		}
		at, err := f.resolve(n.ref, n.in)
		if err != nil {
			return leaf{}, err
		}
		if seen[at.in.num] || at.value.kind != isDict || at.value.twice {
			return leaf{}, because(ErrBroken, "its page tree is no tree of dictionaries")
		}
		seen[at.in.num] = true
		inherited := map[string]found{}
		for _, key := range inheritable {
			if v, ok := at.value.get(key); ok {
				inherited[key] = found{v, at.in}
			} else if v, ok := n.inherited[key]; ok {
				inherited[key] = v
			}
		}
		kids, ok, err := f.entry(at, "Kids")
		if err != nil {
			return leaf{}, err
		}
		if !ok {
			return f.usePage(at, inherited)
		}
		if kids.value.kind != isArray {
			return leaf{}, because(ErrBroken, "its page tree is no tree of dictionaries")
		}
		// Empty branches before the page are rare: a few kids are enough.
		few := slices.Clone(kids.value.items[:min(len(kids.value.items), 64)])
		if last {
			few = slices.Clone(kids.value.items[max(0, len(kids.value.items)-64):])
		} else {
			slices.Reverse(few)
		}
		for _, kid := range few {
			if kid.kind != isRef {
				return leaf{}, because(ErrBroken, "its page tree is no tree of dictionaries")
			}
			todo = append(todo, node{kid, kids.in, n.depth + 1, inherited})
		}
	}
	return leaf{}, ErrNoPages
}

func (f *File) usePage(page found, inherited map[string]found) (l leaf, err error) {
	l.inherited = inherited
	if kind, _ := page.value.get("Type"); kind.text != "Page" {
		return l, because(ErrBroken, "its page is no page")
	}
	if l.object, err = changeable(page); err != nil {
		return l, err
	}
	list, ok, err := f.entry(page, "Annots")
	if err != nil || !ok {
		return l, err
	}
	if list.value.kind != isArray {
		return l, because(ErrBroken, "/Annots of its page is no array")
	}
	_, err = changeable(list)
	l.annotations = &list
	return l, err
}
