// Package xmltree reads an XML document, records edits beside it, and writes it
// with them. What has no edit is copied byte for byte: comments, quotes, white
// space, order, and whatever the reader of the tree does not know.
//
// The tree always shows the source. An edit becomes visible only in what [Document.Render]
// writes, so whoever plans edits never sees those of others.
//
// It reads XML 1.0 in UTF-8 without a document type, within the limits of libxml2. Names
// are compared as they are written: a prefix is part of the name, and an element that
// declares a default namespace of its own, or is inside of one, is [Node.Foreign].
//
// Documents may be confidential: no error quotes them.
package xmltree
