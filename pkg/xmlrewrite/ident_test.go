package xmlrewrite

import "testing"

// TestParseMAC: libvirt takes one digit in a part, and nothing but colons between them.
func TestParseMAC(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"52:54:00:12:34:56":       "52:54:00:12:34:56",
		"52:54:0:AB:c:F":          "52:54:00:ab:0c:0f",
		"52-54-00-12-34-56":       "",
		"5254.0012.3456":          "",
		"52:54:00:12:34":          "",
		"52:54:00:12:34:56:78:9a": "",
		"52:54:00:12:34:":         "",
		"52:54:00:12:34:5g":       "",
		"52:54:00:12:34:567":      "",
		"":                        "",
	} {
		if got, ok := parseMAC(text); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %t; want %q", text, got, ok, want)
		}
	}
}

// TestParseUUID: only the form that libvirt writes is one.
func TestParseUUID(t *testing.T) {
	t.Parallel()
	const want = "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"
	for text, good := range map[string]bool{
		want:                                   true,
		"5E26D0F7-8C1E-4B57-9F0E-3A8D2A0C6B11": true,
		"5e26d0f78c1e4b579f0e3a8d2a0c6b11":     false,
		"{" + want + "}":                       false,
		"urn:uuid:" + want:                     false,
		"5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b1g": false,
		"5e26d0f7-8c1e-4b57-9f0e3-a8d2a0c6b11": false,
		"":                                     false,
	} {
		if got, ok := parseUUID(text); ok != good || ok && got != want {
			t.Errorf("%q is %q, %t; want %t", text, got, ok, good)
		}
	}
}
