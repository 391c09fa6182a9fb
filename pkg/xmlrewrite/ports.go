package xmlrewrite

import "strconv"

// ListenPorts returns the TCP ports on which serial ports and consoles of the
// guest listen on its host. The error is [Problems].
func ListenPorts[Text ~string | ~[]byte](domainXML Text) ([]int32, error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return nil, err
	}
	var ports []int32
	for _, l := range serialListeners(doc) {
		// A service that is no number is one of /etc/services; none of those is
		// given to guests.
		if port, err := strconv.ParseUint(l.source.Value("service"), 10, 16); err == nil {
			ports = append(ports, int32(port))
		}
	}
	return ports, nil
}
