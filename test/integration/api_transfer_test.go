//go:build integration

package integration

// transferRules are those on how a guest is sent.
func transferRules() []createRule {
	const place = "spec.options.transfer"
	options := func(o string) string { return "{domain: web, targetNode: b, options: {" + o + "}}" }
	transfer := func(o string) string { return options("transfer: {" + o + "}") }
	return []createRule{
		{
			name: "parallel connections exclude post-copy", field: "spec.options", message: "transfer.parallelConnections excludes allowPostCopy",
			accept: []string{
				options("allowPostCopy: true, transfer: {encryption: Required}"), options("allowPostCopy: false, transfer: {parallelConnections: 2}"),
			},
			reject: []string{options("allowPostCopy: true, transfer: {parallelConnections: 2}")},
		},
		{
			name: "compression fits the connections", field: place,
			message: "compression by Zlib and Zstd needs parallelConnections, and XBZRLE excludes them",
			accept: []string{
				transfer("parallelConnections: 2, compression: {method: Zstd, level: 20}"), transfer("parallelConnections: 1, compression: {method: Zlib}"),
				transfer("compression: {method: XBZRLE}"),
			},
			reject: []string{
				transfer("compression: {method: Zstd}"), transfer("compression: {method: Zlib}"), transfer("parallelConnections: 2, compression: {method: XBZRLE}"),
			},
		},
		{
			name: "zero-copy is alone", field: place,
			message: "zeroCopy needs parallelConnections and encryption: Disabled, and excludes compression",
			accept:  []string{transfer("zeroCopy: true, parallelConnections: 2, encryption: Disabled"), transfer("zeroCopy: false")},
			reject: []string{
				transfer("zeroCopy: true"), transfer("zeroCopy: true, parallelConnections: 2"), transfer("zeroCopy: true, parallelConnections: 2, encryption: Required"),
				transfer("zeroCopy: true, encryption: Disabled"), transfer("zeroCopy: true, parallelConnections: 2, encryption: Disabled, compression: {method: Zlib}"),
			},
		},
		{
			name: "the certificate's name is for encryption", field: place, message: "tlsDestination is about encryption, which is Disabled",
			accept: []string{transfer("tlsDestination: node-b.example"), transfer("tlsDestination: node-b, encryption: Required")},
			reject: []string{transfer("tlsDestination: node-b, encryption: Disabled")},
		},
		{
			name: "the certificate's name is one", field: place + ".tlsDestination", message: "tlsDestination must be an IP address or a DNS name in lower case",
			accept: []string{transfer("tlsDestination: 192.0.2.1"), transfer("tlsDestination: '2001:db8::1'")},
			reject: []string{transfer("tlsDestination: Node-B"), transfer("tlsDestination: 'b?no_verify=1'"), transfer("tlsDestination: '*.example'")},
		},
		{
			name: "the switch-over has some bandwidth", field: place + ".switchoverBandwidthMiBps", message: "should be greater than or equal to 1",
			accept: []string{transfer("switchoverBandwidthMiBps: 1"), options("allowPostCopy: true, transfer: {switchoverBandwidthMiBps: 8796093022207}")},
			reject: []string{transfer("switchoverBandwidthMiBps: 0"), transfer("switchoverBandwidthMiBps: -1")},
		},
		{
			name: "XBZRLE has no level", field: place + ".compression", message: "XBZRLE has no level",
			reject: []string{transfer("compression: {method: XBZRLE, level: 1}")},
		},
		{
			name: "Zlib's levels", field: place + ".compression", message: "the level of Zlib is between 1 and 9",
			accept: []string{transfer("parallelConnections: 2, compression: {method: Zlib, level: 9}")},
			reject: []string{transfer("parallelConnections: 2, compression: {method: Zlib, level: 10}")},
		},
	}
}
