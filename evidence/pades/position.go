package pades

import (
	"fmt"
	"strconv"
)

// Measures are in hundredths of a point: whole numbers, so that every machine writes the same.

// maxExtent bounds the coordinates of a page: 20,000 points.
const maxExtent = 20_000 * 100

// position is where the seal stands: its rectangle on the page, and by how much the page is turned when it is shown.
type position struct {
	rect   [4]int // left, bottom, right, top
	rotate int    // 0, 90, 180 or 270, clockwise
}

// sealPlace finds the page that shows the seal and the place on it. A document that can't show it may still be signed without: ErrNoSeal.
func (f *File) sealPlace(s *Seal) (position, leaf, error) {
	if err := s.check(); err != nil {
		return position{}, leaf{}, err
	}
	if f.certified {
		return position{}, leaf{}, because(ErrNoSeal, "whoever certified or locked it allows no new mark on its pages")
	}
	page := f.first
	if s.Last {
		var err error
		if page, err = f.page(found{f.catalog.value, f.catalog}, true); err != nil {
			return position{}, leaf{}, because(ErrNoSeal, "its last page can't be read: %v", err)
		}
		if f.fields != nil && page.shares(*f.fields) {
			return position{}, leaf{}, because(ErrNoSeal, "its form and its last page share one list")
		}
	}
	at, err := f.position(page, s)
	return at, page, err
}

func (f *File) position(page leaf, s *Seal) (position, error) {
	box, ok, err := f.box(page, "MediaBox")
	if err != nil || !ok {
		return position{}, because(ErrNoSeal, "its page doesn't say how large it is")
	}
	if crop, ok, err := f.box(page, "CropBox"); err != nil {
		return position{}, because(ErrNoSeal, "its page doesn't say what of it is shown")
	} else if ok {
		box = [4]int{max(box[0], crop[0]), max(box[1], crop[1]), min(box[2], crop[2]), min(box[3], crop[3])}
	}
	p := position{}
	if turned, ok := page.inherited["Rotate"]; ok {
		v, err := f.resolve(turned.value, turned.in)
		if err != nil || v.value.kind != isInteger || v.value.n%90 != 0 {
			return position{}, because(ErrNoSeal, "its page is turned by no right angle")
		}
		p.rotate = int((v.value.n%360 + 360) % 360)
	}
	// As it is shown: width and height, and the seal's left lower corner.
	width, height := box[2]-box[0], box[3]-box[1]
	if p.rotate%180 != 0 {
		width, height = height, width
	}
	w, h, x, y := s.Width*100, s.Height*100, s.X*100, s.Y*100
	if x+w > width || y+h > height {
		return position{}, because(ErrNoSeal, "its page is too small for it")
	}
	if s.Corner == TopRight || s.Corner == BottomRight {
		x = width - x - w
	}
	if s.Corner == TopLeft || s.Corner == TopRight {
		y = height - y - h
	}
	bw, bh := box[2]-box[0], box[3]-box[1]
	switch p.rotate {
	case 0:
		p.rect = [4]int{x, y, x + w, y + h}
	case 90:
		p.rect = [4]int{bw - y - h, x, bw - y, x + w}
	case 180:
		p.rect = [4]int{bw - x - w, bh - y - h, bw - x, bh - y}
	case 270:
		p.rect = [4]int{y, bh - x - w, y + h, bh - x}
	}
	for i, corner := range []int{box[0], box[1], box[0], box[1]} {
		p.rect[i] += corner
	}
	return p, nil
}

// box is a rectangle of a page, its own or taken over: left, bottom, right, top.
func (f *File) box(page leaf, key string) (box [4]int, ok bool, err error) {
	from, ok := page.inherited[key]
	if !ok {
		return box, false, nil
	}
	list, err := f.resolve(from.value, from.in)
	if err != nil {
		return box, false, err
	}
	if list.value.kind != isArray || len(list.value.items) != 4 {
		return box, false, because(ErrBroken, "/%s is no rectangle", key)
	}
	for i, item := range list.value.items {
		number, err := f.resolve(item, list.in)
		if err != nil {
			return box, false, err
		}
		if number.value.kind != isInteger && number.value.kind != isReal {
			return box, false, because(ErrBroken, "/%s is no rectangle", key)
		}
		if box[i], err = hundredths(string(number.in.text[number.value.start:number.value.end])); err != nil {
			return box, false, err
		}
	}
	return [4]int{min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])}, true, nil
}

// hundredths reads a number as PDF writes it, rounded down to hundredths.
func hundredths(text string) (int, error) {
	negative := false
	if text != "" && (text[0] == '-' || text[0] == '+') {
		negative, text = text[0] == '-', text[1:]
	}
	whole, n, digits := true, 0, 0
	for _, c := range []byte(text) {
		switch {
		case c == '.' && whole:
			whole = false
		case isDigit(c) && (whole || digits < 2):
			n = n*10 + int(c-'0')
			if !whole {
				digits++
			}
		case !isDigit(c):
			return 0, because(ErrBroken, "a number can't be read")
		}
		if n > maxExtent {
			return 0, because(ErrBounds, "its page is larger than %d points", maxExtent/100)
		}
	}
	for ; digits < 2; digits++ {
		n *= 10
	}
	if n > maxExtent {
		return 0, because(ErrBounds, "its page is larger than %d points", maxExtent/100)
	}
	if negative {
		n = -n
	}
	return n, nil
}

// points writes hundredths of a point.
func points(n int) string {
	if n < 0 {
		return "-" + points(-n)
	}
	if n%100 == 0 {
		return strconv.Itoa(n / 100)
	}
	return fmt.Sprintf("%d.%02d", n/100, n%100)
}
