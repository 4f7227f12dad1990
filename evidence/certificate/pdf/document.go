// Package pdf writes plain documents of headings, paragraphs and tables as tagged PDF: PDF/A-3a (ISO 19005-3), for archives, and PDF/UA-1
// (ISO 14289-1), for people who listen. The fonts are embedded, and the same document is the same bytes.
package pdf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Document is what is written. Created is put into it: nothing is taken from a clock.
type Document struct {
	Title, Subject string
	Language       string // BCP 47
	Footer         string // of each page, after its number; what is longer than a line is left out
	Created        time.Time
	Blocks         []Block
	Attached       *Attachment
}

// Attachment is a file in the file: the same facts for machines.
type Attachment struct {
	Name, MediaType, Description string
	Body                         []byte
}

// Block is a Heading, a Paragraph or a Table.
type Block interface{ block() }

// Heading is a heading. The first is of level 1, and none skips a level.
type Heading struct {
	Level int // 1 to 3
	Text  string
}

// Paragraph is running text.
type Paragraph struct{ Text string }

// Table is a table. With Head, that row names the columns; without, the first cell of each row names the row.
type Table struct {
	Head   []string
	Rows   [][]string
	Widths []float64 // of the columns, as shares of the line
}

func (Heading) block()   {}
func (Paragraph) block() {}
func (Table) block()     {}

// Bounds on a document.
const (
	maxPages = 2000
	maxText  = 16 << 20 // bytes, of all texts
)

// Write writes the document. Characters that no font shows stand in the text by their numbers, and are returned, each once, in order. A document with
// more than 2,000 pages or 16 MiB of text is refused.
func Write(d Document) (raw []byte, missing []rune, err error) {
	f, err := loaded()
	if err != nil {
		return nil, nil, err
	}
	if err := d.check(); err != nil {
		return nil, nil, fmt.Errorf("couldn't write the document: %w", err)
	}
	l := newLayout(f)
	root := l.element("Document", "", nil)
	for _, b := range d.Blocks {
		switch b := b.(type) {
		case Heading:
			l.heading(root, b)
		case Paragraph:
			l.flow(l.element("P", "", root), b.Text, body, false)
			l.y -= 5
		case Table:
			l.table(root, b)
		}
		if len(l.pages) > maxPages {
			return nil, nil, fmt.Errorf("couldn't write the document: it has more than %d pages", maxPages)
		}
	}
	l.footers(d.Footer)
	slices.Sort(l.missing)
	return l.write(d, root), slices.Compact(l.missing), nil
}

func (d Document) check() error {
	size, level := 0, 0
	for _, b := range d.Blocks {
		switch b := b.(type) {
		case Heading:
			if b.Level < 1 || b.Level > 3 || b.Level > level+1 {
				return fmt.Errorf("a heading of level %d follows one of level %d", b.Level, level)
			}
			level = b.Level
			size += len(b.Text)
		case Paragraph:
			size += len(b.Text)
		case Table:
			if len(b.Widths) == 0 || len(b.Rows) == 0 || b.Head != nil && len(b.Head) != len(b.Widths) {
				return errors.New("a table has no rows, or not a width for each column")
			}
			for _, row := range b.Rows {
				if len(row) != len(b.Widths) {
					return errors.New("a row of a table has more or fewer cells than columns")
				}
				size += len(strings.Join(row, ""))
			}
		}
	}
	switch {
	case level == 0:
		return errors.New("it has no heading")
	case size > maxText:
		return fmt.Errorf("it has %d bytes of text, at most %d", size, maxText)
	}
	return nil
}
