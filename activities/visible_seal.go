package activities

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // a logo may be one
	_ "image/png"  // a logo may be one
	"io"
	"os"

	"github.com/countersign-dev/countersign"
	"github.com/countersign-dev/countersign/evidence"
	"github.com/countersign-dev/countersign/evidence/pades"
)

// maxLogoFile bounds the file of a logo, in bytes. What is kept of it is bounded more tightly.
const maxLogoFile = 1 << 20

// OpenVisibleSeal makes the seal that a tenant's file describes, with its logo; nil where it describes none. It refuses one that can't be drawn, so that a
// worker doesn't start with it.
func OpenVisibleSeal(s *countersign.Settings, dir string) (*countersign.VisibleSeal, error) {
	v := s.VisibleSeal()
	if v == nil {
		return nil, nil
	}
	if name := s.SignedPDF.VisibleSeal.Logo; name != "" {
		var err error
		if v.Logo, err = readLogo(beside(dir, name)); err != nil {
			return nil, s.Fault(err, "signedPDF", "visibleSeal", "logo")
		}
	}
	if err := evidence.CheckVisibleSeal(*v); err != nil {
		return nil, s.Fault(err, "signedPDF", "visibleSeal")
	}
	return v, nil
}

// readLogo reads a picture and keeps its pixels alone, on white: PDF/A-1 knows nothing transparent, and a file may say more than it shows.
func readLogo(path string) (*countersign.Logo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the logo: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxLogoFile+1))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the logo: %w", err)
	}
	if len(raw) > maxLogoFile {
		return nil, fmt.Errorf("couldn't read the logo: its file has more than %d bytes", maxLogoFile)
	}
	size, _, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the logo: it is neither PNG nor JPEG: %w", err)
	}
	// Before it is unpacked: a small file may be a large picture.
	if size.Width > pades.MaxPictureSide || size.Height > pades.MaxPictureSide {
		return nil, fmt.Errorf("couldn't use the logo: it has %d × %d pixels; at most %d × %d are drawn, and half of it is enough", size.Width, size.Height, pades.MaxPictureSide, pades.MaxPictureSide)
	}
	picture, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the logo: %w", err)
	}
	var packed bytes.Buffer
	z, err := zlib.NewWriterLevel(&packed, zlib.BestCompression)
	if err != nil {
		return nil, err
	}
	box := picture.Bounds()
	row := make([]byte, 0, 3*box.Dx())
	for y := box.Min.Y; y < box.Max.Y; y++ {
		row = row[:0]
		for x := box.Min.X; x < box.Max.X; x++ {
			c := color.NRGBAModel.Convert(picture.At(x, y)).(color.NRGBA) //nolint:forcetypeassert // what the model makes
			for _, part := range []byte{c.R, c.G, c.B} {
				row = append(row, byte((int(part)*int(c.A)+255*(255-int(c.A))+127)/255)) //nolint:gosec // a mean of bytes
			}
		}
		if _, err := z.Write(row); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return &countersign.Logo{Width: box.Dx(), Height: box.Dy(), Pixels: packed.Bytes()}, nil
}

// noSeal says why a document that can be signed can't show the seal; empty where it can.
func noSeal(f *pades.File, seal *countersign.VisibleSeal) string {
	if seal == nil {
		return ""
	}
	err := evidence.ShowsSeal(f, *seal)
	if err == nil {
		return ""
	}
	if errors.Is(err, pades.ErrNoSeal) {
		return err.Error()
	}
	return pades.ErrNoSeal.Error() + ": its structure is broken where the seal would have to be named"
}
