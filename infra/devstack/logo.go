package main

import (
	"bytes"
	"encoding/hex"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
)

// writeLogo draws a tenant's logo, an arch in its colour, and returns its path as the tenant's file names it.
func writeLogo(dir string, t tenantCast) (string, error) {
	const side = 96
	rgb, err := hex.DecodeString(t.color[1:])
	if err != nil {
		return "", err
	}
	picture := image.NewNRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			dx, dy := x-side/2, min(y-side/2, 0)
			if d := dx*dx + dy*dy; d < 46*46 && (d > 24*24 || y > 72) {
				picture.SetNRGBA(x, y, color.NRGBA{rgb[0], rgb[1], rgb[2], 255})
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return "", err
	}
	name := filepath.Join("brand", t.id+".png")
	if err := os.MkdirAll(filepath.Join(dir, "brand"), 0o700); err != nil {
		return "", err
	}
	return "../" + name, writePrivate(filepath.Join(dir, name), out.Bytes())
}
