package hypervisor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

// TestSecretValueIsNotTold: by the logger of this project, or whatever formats it.
func TestSecretValueIsNotTold(t *testing.T) {
	value := SecretValue("hunter2")
	loan := SecretLoan{Name: SecretName{UUID: "u"}, Value: value}
	var text, asJSON bytes.Buffer
	// As cmd/virtferry sets its logger up.
	logr.FromSlogHandler(slog.NewTextHandler(&text, nil)).Info("lending", "value", value)
	logr.FromSlogHandler(slog.NewJSONHandler(&asJSON, nil)).Info("lending", "loan", loan)
	marshalled, _ := json.Marshal(loan)
	for name, got := range map[string]string{
		"slog text": text.String(), "slog JSON": asJSON.String(), "json": string(marshalled),
		"%v": fmt.Sprintf("%v", loan), "%+v": fmt.Sprintf("%+v", loan), "%#v": fmt.Sprintf("%#v", loan), "%x": fmt.Sprintf("%x", loan),
	} {
		for _, secret := range []string{"hunter2", "aHVudGVyMg==", "68756e74657232", "104 117 110"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}
