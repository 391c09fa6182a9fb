package xmlrewrite

// Identity returns the name and the UUID of a guest; either is empty if its XML does not
// have it. The error is [Problems].
func Identity[Text ~string | ~[]byte](domainXML Text) (name, uuid string, err error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return "", "", err
	}
	return doc.Root.Child("name").Text(), doc.Root.Child("uuid").Text(), nil
}
