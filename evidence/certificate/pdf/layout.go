package pdf

import (
	"fmt"
	"strings"

	"github.com/countersign-dev/countersign/evidence/truetype"
)

// Measures in points, of A4.
const (
	pageWidth, pageHeight = 595.28, 841.89
	margin                = 54.0
	foot                  = 60.0
	column                = pageWidth - 2*margin
	body, small           = 9.5, 8.5
	leading               = 1.35
	gap                   = 8.0 // between columns
)

// element is one element of the structure tree: what a part of the page means.
type element struct {
	kind, attributes string
	parent           *element
	children         []any // *element, or marked
	number           int
}

// marked is a piece of a page's content, by its number there.
type marked struct{ page, id int }

type page struct {
	content strings.Builder
	owners  []*element // of each piece, by number
}

type layout struct {
	fonts
	subsets []*truetype.Subset // regular, bold, east
	pages   []*page
	y       float64
	missing []rune
}

func newLayout(f fonts) *layout {
	l := &layout{fonts: f, subsets: []*truetype.Subset{truetype.NewSubset(f.regular), truetype.NewSubset(f.bold), truetype.NewSubset(f.east)}}
	l.turn()
	return l
}

func (l *layout) turn() {
	l.pages = append(l.pages, &page{})
	l.y = pageHeight - margin
}

func (l *layout) page() *page { return l.pages[len(l.pages)-1] }

// room makes sure that as much fits onto the page, or turns it.
func (l *layout) room(height float64) {
	if l.y-height < foot && l.y < pageHeight-margin {
		l.turn()
	}
}

func (l *layout) element(kind, attributes string, parent *element) *element {
	e := &element{kind: kind, attributes: attributes, parent: parent}
	if parent != nil {
		parent.children = append(parent.children, e)
	}
	return e
}

// fit is the text as it can be shown; what can't is noted.
func (l *layout) fit(text string) string {
	s, missing := l.shown(text)
	l.missing = append(l.missing, missing...)
	return s
}

func (l *layout) widthOf(r rune, size float64, bold bool) float64 {
	f := l.find(r, bold)
	return float64(f.Width(f.Glyph(r))) * size / 1000
}

// wrap breaks a text into lines. It breaks after a space, and inside of what is longer than a line. The space stays: the lines one after the other are
// the text, also for who listens to it.
func (l *layout) wrap(text string, width, size float64, bold bool) (lines []string) {
	var line []rune
	used, space := 0.0, -1 // space is the place after the last space in the line
	for _, r := range l.fit(text) {
		w := l.widthOf(r, size, bold)
		if used+w > width && len(line) > 0 && r != ' ' {
			cut := len(line)
			if space > 0 {
				cut = space
			}
			lines = append(lines, string(line[:cut]))
			line = append([]rune(nil), line[cut:]...)
			used, space = 0, -1
			for _, kept := range line {
				used += l.widthOf(kept, size, bold)
			}
		}
		line, used = append(line, r), used+w
		if r == ' ' {
			space = len(line)
		}
	}
	return append(lines, string(line))
}

// mark writes content of the element onto the page.
func (l *layout) mark(e *element, content string) {
	p := l.page()
	id := len(p.owners)
	p.owners = append(p.owners, e)
	e.children = append(e.children, marked{len(l.pages) - 1, id})
	fmt.Fprintf(&p.content, "/%s<</MCID %d>>BDC\n%sEMC\n", e.kind, id, content)
}

// artifact writes what means nothing.
func (l *layout) artifact(p *page, properties, content string) {
	fmt.Fprintf(&p.content, "/Artifact%sBDC\n%sEMC\n", properties, content)
}

// draw is one line of text at a place, each run in the font that has its characters.
func (l *layout) draw(line string, x, y, size float64, bold bool) string {
	var out strings.Builder
	fmt.Fprintf(&out, "BT 1 0 0 1 %.2f %.2f Tm ", x, y)
	last := -1
	for _, r := range line {
		f := l.find(r, bold)
		for i, s := range l.subsets {
			if s.Font != f {
				continue
			}
			if i != last {
				if last >= 0 {
					out.WriteString("> Tj ")
				}
				fmt.Fprintf(&out, "/F%d %.1f Tf <", i, size)
				last = i
			}
			fmt.Fprintf(&out, "%04x", s.Number(r))
		}
	}
	if last >= 0 {
		out.WriteString("> Tj ")
	}
	out.WriteString("ET\n")
	return out.String()
}

// flow writes text over as many lines and pages as it needs.
func (l *layout) flow(e *element, text string, size float64, bold bool) {
	lines := l.wrap(text, column, size, bold)
	for len(lines) > 0 {
		l.room(size * leading)
		n := min(len(lines), max(1, int((l.y-foot)/(size*leading))))
		var content strings.Builder
		for _, line := range lines[:n] {
			l.y -= size * leading
			content.WriteString(l.draw(line, margin, l.y, size, bold))
		}
		l.mark(e, content.String())
		lines = lines[n:]
	}
}

func (l *layout) heading(root *element, h Heading) {
	size := []float64{19, 13, 10.5}[h.Level-1]
	l.room(size*3 + 40) // a heading doesn't stand alone at the end of a page
	if l.y < pageHeight-margin {
		l.y -= size * 0.7
	}
	l.flow(l.element(fmt.Sprintf("H%d", h.Level), "", root), h.Text, size, true)
	l.y -= 4
}

func (l *layout) table(root *element, t Table) {
	table := l.element("Table", "", root)
	if t.Head != nil {
		l.row(table, t.Head, t.Widths, func(int) string { return "Column" })
	}
	for _, row := range t.Rows {
		l.row(table, row, t.Widths, func(i int) string {
			if i == 0 && t.Head == nil {
				return "Row"
			}
			return ""
		})
	}
	l.y -= 8
}

// row writes a row. It stays together where a page has room for it; else the lines that don't fit stand on the next page.
func (l *layout) row(table *element, cells []string, widths []float64, scope func(i int) string) {
	tr := l.element("TR", "", table)
	elements, lines, tallest := make([]*element, len(cells)), make([][]string, len(cells)), 0
	for i, cell := range cells {
		head := scope(i) != ""
		if head {
			elements[i] = l.element("TH", "/A<</O/Table/Scope/"+scope(i)+">>", tr)
		} else {
			elements[i] = l.element("TD", "", tr)
		}
		lines[i] = l.wrap(cell, widths[i]*column-gap, small, head)
		tallest = max(tallest, len(lines[i]))
	}
	const height = small * leading
	l.room(min(float64(tallest), 20)*height + 6)
	for from := 0; from < tallest; {
		if from > 0 {
			l.turn()
		}
		n := min(tallest-from, max(1, int((l.y-foot-6)/height)))
		x := margin
		for i := range cells {
			if from < len(lines[i]) {
				var content strings.Builder
				for k, line := range lines[i][from:min(from+n, len(lines[i]))] {
					content.WriteString(l.draw(line, x, l.y-height*float64(k+1), small, scope(i) != ""))
				}
				l.mark(elements[i], content.String())
			}
			x += widths[i] * column
		}
		l.y -= height*float64(n) + 5
		from += n
	}
	l.artifact(l.page(), "<</Type/Layout>>", fmt.Sprintf("0.75 G 0.5 w %.2f %.2f m %.2f %.2f l S 0 G\n", margin, l.y+1, pageWidth-margin, l.y+1))
	l.y -= 1
}

func (l *layout) footers(text string) {
	for i, p := range l.pages {
		line := fmt.Sprintf("Page %d of %d. %s", i+1, len(l.pages), text)
		l.artifact(p, "<</Type/Pagination/Subtype/Footer>>", l.draw(l.wrap(line, column, 7, false)[0], margin, 34, 7, false))
	}
}

// write puts pages, tree, fonts and metadata into a file.
func (l *layout) write(d Document, root *element) []byte {
	f := &file{}
	catalog, tree, pages := f.reserve(), f.reserve(), f.reserve()
	used := ""
	for i, s := range l.subsets {
		if len(s.Runes) > 1 {
			used += fmt.Sprintf("/F%d %s", i, ref(embed(s, f)))
		}
	}
	resources := f.add("<</Font<<%s>>>>", used)
	numbers := make([]int, len(l.pages))
	for i := range l.pages {
		numbers[i] = f.reserve()
	}
	root.write(f, tree, numbers)
	var parents strings.Builder
	for i, p := range l.pages {
		content := f.stream("", []byte(p.content.String()))
		f.set(numbers[i], fmt.Sprintf("<</Type/Page/Parent %s/MediaBox[0 0 %.2f %.2f]/Resources %s/Contents %s/StructParents %d/Tabs/S>>", ref(pages), pageWidth, pageHeight, ref(resources), ref(content), i))
		owners := make([]int, len(p.owners))
		for k, e := range p.owners {
			owners[k] = e.number
		}
		fmt.Fprintf(&parents, "%d[%s]", i, refs(owners))
	}
	f.set(pages, fmt.Sprintf("<</Type/Pages/Kids[%s]/Count %d>>", refs(numbers), len(numbers)))
	f.set(tree, fmt.Sprintf("<</Type/StructTreeRoot/K %s/ParentTree<</Nums[%s]>>/ParentTreeNextKey %d>>", ref(root.number), parents.String(), len(l.pages)))
	packet := d.metadata()
	metadata := f.add("<</Type/Metadata/Subtype/XML/Length %d>>\nstream\n%s\nendstream", len(packet), packet)
	profile := f.stream("/N 1", grayProfile())
	attached := ""
	if a := d.Attached; a != nil {
		stored := f.stream(fmt.Sprintf("/Type/EmbeddedFile/Subtype/%s/Params<</Size %d/ModDate%s>>", strings.ReplaceAll(a.MediaType, "/", "#2F"), len(a.Body), date(d.Created)), a.Body)
		spec := f.add("<</Type/Filespec/F%s/UF%s/Desc%s/AFRelationship/Data/EF<</F %s/UF %s>>>>", text(a.Name), text(a.Name), text(a.Description), ref(stored), ref(stored))
		attached = fmt.Sprintf("/AF[%s]/Names<</EmbeddedFiles<</Names[%s %s]>>>>", ref(spec), text(a.Name), ref(spec))
	}
	f.set(catalog, fmt.Sprintf("<</Type/Catalog/Pages %s/StructTreeRoot %s/MarkInfo<</Marked true>>/Lang%s/ViewerPreferences<</DisplayDocTitle true>>/Metadata %s/OutputIntents[<</Type/OutputIntent/S/GTS_PDFA1/OutputConditionIdentifier(Gray gamma 2.2)/Info(Gray gamma 2.2)/DestOutputProfile %s>>]%s>>",
		ref(pages), ref(tree), text(d.Language), ref(metadata), ref(profile), attached))
	return f.bytes(catalog)
}

// write puts the element and all below it into the file. The numbers of elements are known before their bodies are written: they name each other.
func (e *element) write(f *file, parent int, pages []int) {
	e.number = f.reserve()
	var kids strings.Builder
	for _, child := range e.children {
		switch c := child.(type) {
		case *element:
			c.write(f, e.number, pages)
			kids.WriteString(ref(c.number) + " ")
		case marked:
			fmt.Fprintf(&kids, "<</Type/MCR/Pg %s/MCID %d>>", ref(pages[c.page]), c.id)
		}
	}
	f.set(e.number, fmt.Sprintf("<</Type/StructElem/S/%s/P %s%s/K[%s]>>", e.kind, ref(parent), e.attributes, kids.String()))
}

func embed(s *truetype.Subset, f *file) int {
	return s.Embed(s.Bytes(), "", func(dictionary string) int { return f.add("%s", dictionary) }, f.stream)
}
