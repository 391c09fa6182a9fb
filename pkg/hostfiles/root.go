package hostfiles

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead through, as for the kernel.
const maxLinks = 40

var errManyLinks = errors.New("too many levels of symbolic links")

// Root returns the files of a host whose root is seen at a directory. A symbolic link leads
// to where it leads on the host, however it is written, and never out of the directory; one
// that leads to what is not seen there is not there. Opening a file waits for nobody.
func Root(dir string) fs.FS { return root(dir) }

type root string

var (
	_ fs.StatFS     = root("")
	_ fs.ReadLinkFS = root("")
)

// Open implements fs.FS.
func (r root) Open(name string) (fs.File, error) {
	found, err := r.find("open", name, true)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(found, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
}

// Stat implements fs.StatFS.
func (r root) Stat(name string) (fs.FileInfo, error) {
	found, err := r.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return os.Lstat(found)
}

// Lstat implements fs.ReadLinkFS.
func (r root) Lstat(name string) (fs.FileInfo, error) {
	found, err := r.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return os.Lstat(found)
}

// ReadLink implements fs.ReadLinkFS.
func (r root) ReadLink(name string) (string, error) {
	found, err := r.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	return os.Readlink(found)
}

// find returns where a file of the host's is, with all links followed; the last one only if
// that is wanted.
func (r root) find(op, name string, last bool) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	found, links := "/", 0
	for rest := name; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := path.Join(found, part) // It does not lead above the root.
		target, err := os.Readlink(filepath.Join(string(r), next))
		switch {
		case errors.Is(err, syscall.EINVAL), err == nil && rest == "" && !last:
			found = next // It is no link, or the one that is asked for.
			continue
		case err != nil:
			return "", err
		}
		links++
		if links > maxLinks {
			return "", &fs.PathError{Op: op, Path: name, Err: errManyLinks}
		}
		if path.IsAbs(target) {
			found = "/"
		}
		rest = strings.TrimSuffix(target+"/"+rest, "/")
	}
	return filepath.Join(string(r), found), nil
}
