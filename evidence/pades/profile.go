package pades

import "encoding/binary"

// colorProfile is an ICC profile (version 2) with sRGB's primaries and a gamma of 2.2. With it colours mean the same whatever device a document is for,
// as PDF/A wants it.
func colorProfile() []byte {
	tag := func(kind string, body []byte) []byte {
		t := append([]byte(kind), 0, 0, 0, 0)
		t = append(t, body...)
		for len(t)%4 != 0 {
			t = append(t, 0)
		}
		return t
	}
	xyz := func(x, y, z uint32) []byte {
		var body []byte
		for _, n := range []uint32{x, y, z} {
			body = binary.BigEndian.AppendUint32(body, n)
		}
		return tag("XYZ ", body)
	}
	name := "sRGB primaries, gamma 2.2\x00"
	desc := append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...)
	desc = append(desc, make([]byte, 4+4+2+1+67)...)
	curve := tag("curv", []byte{0, 0, 0, 1, 0x02, 0x33})
	// In fixed point with 16 bits behind the point, adapted to D50 (Bradford).
	parts := []struct {
		name string
		body []byte
	}{
		{"desc", tag("desc", desc)}, {"cprt", tag("text", []byte("No copyright, use freely\x00"))}, {"wtpt", xyz(0xf6d6, 0x10000, 0xd32d)},
		{"rXYZ", xyz(0x6fa2, 0x38f5, 0x0390)}, {"gXYZ", xyz(0x6299, 0xb785, 0x18da)}, {"bXYZ", xyz(0x24a0, 0x0f84, 0xb6cf)},
		{"rTRC", curve}, {"gTRC", curve}, {"bTRC", curve},
	}
	table := binary.BigEndian.AppendUint32(nil, uint32(len(parts)))
	at := 128 + 4 + 12*len(parts)
	var body []byte
	for _, p := range parts {
		table = append(table, p.name...)
		table = binary.BigEndian.AppendUint32(table, uint32(at+len(body))) //nolint:gosec // some hundred bytes
		table = binary.BigEndian.AppendUint32(table, uint32(len(p.body)))  //nolint:gosec // some hundred bytes
		body = append(body, p.body...)
	}
	head := make([]byte, 128)
	binary.BigEndian.PutUint32(head, uint32(at+len(body))) //nolint:gosec // some hundred bytes
	copy(head[8:], []byte{2, 0x40, 0, 0})
	copy(head[12:], "mntrRGB XYZ ")
	copy(head[24:], []byte{7, 0xea, 0, 1, 0, 1})
	copy(head[36:], "acsp")
	copy(head[68:], []byte{0, 0, 0xf6, 0xd6, 0, 1, 0, 0, 0, 0, 0xd3, 0x2d}) // D50
	return append(append(head, table...), body...)
}
