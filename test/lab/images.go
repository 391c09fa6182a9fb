//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// guestSource is the program that runs in the guests. It is embedded so that the
// lab can build it wherever it runs.
//
//go:embed guest/*.go
var guestSource embed.FS

// qemuWrapper stands in for QEMU on the hosts; it says why.
//
//go:embed qemu-system-x86_64.sh
var qemuWrapper []byte

// Kernel packages of Debian. The first depends on the newest of the second kind.
const (
	kernelMetaPackage   = "linux-image-cloud-amd64"
	kernelPackagePrefix = "linux-image-"
)

// kernelModules are the kernel modules that guests need for a purpose, in their order, as the
// kernel has them.
var kernelModules = []struct {
	purpose string
	modules []string
}{
	{"disk", slices.Concat(virtioModules, []string{"drivers/block/virtio_blk.ko"})},
	{"agent", slices.Concat(virtioModules, []string{"drivers/char/virtio_console.ko"})},
	{"network", slices.Concat(virtioModules, []string{"net/core/failover.ko", "drivers/net/net_failover.ko", "drivers/net/virtio_net.ko"})},
}

// virtioModules are those of all virtio devices.
var virtioModules = []string{
	"drivers/virtio/virtio_ring.ko", "drivers/virtio/virtio.ko",
	"drivers/virtio/virtio_pci_legacy_dev.ko", "drivers/virtio/virtio_pci_modern_dev.ko", "drivers/virtio/virtio_pci.ko",
}

// allModules are the modules of all purposes, each once, in their order.
func allModules() []string {
	var all []string
	for _, k := range kernelModules {
		for _, module := range k.modules {
			if !slices.Contains(all, module) {
				all = append(all, module)
			}
		}
	}
	return all
}

// kernelCache is the directory of kernels with these modules.
func kernelCache(cache string) string {
	sum := sha256.Sum256([]byte(strings.Join(allModules(), "\n")))
	return filepath.Join(cache, "kernel", hex.EncodeToString(sum[:])[:16])
}

// Images are what guests boot from, and the QEMU that runs them.
type Images struct {
	Dir string // Holds KernelFile, InitrdFile and TinyFile, and a directory of programs.
}

// Names of the files in Images.Dir.
const (
	KernelFile  = "vmlinuz"
	InitrdFile  = "initrd"
	TinyFile    = "tiny"
	programsDir = "bin"
	qemuFile    = "qemu-system-x86_64"
)

// CacheDir is where the lab keeps what takes long to make: ${VIRTFERRY_CACHE}, or
// virtferry in the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("VIRTFERRY_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory (set VIRTFERRY_CACHE): %w", err)
	}
	return filepath.Join(base, "virtferry"), nil
}

// PrepareImages returns the guests' kernel and initial RAM disk. The first time
// it downloads the kernel by apt (27 MB) and builds the rest, in some seconds;
// after that they come from the cache, whose key is a hash of all that went in.
func PrepareImages(ctx context.Context, log func(format string, args ...any)) (Images, error) {
	cache, err := CacheDir()
	if err != nil {
		return Images{}, err
	}
	kernel, err := cachedKernel(ctx, kernelCache(cache), log)
	if err != nil {
		return Images{}, err
	}
	key, err := imagesKey(kernel)
	if err != nil {
		return Images{}, err
	}
	dir := filepath.Join(cache, "guest", key)
	if _, err := os.Stat(dir); err == nil {
		return Images{Dir: dir}, nil
	}
	log("building the guests' initial RAM disk once")
	err = makeDir(dir, func(tmp string) error {
		if err := linkFile(filepath.Join(kernel, KernelFile), filepath.Join(tmp, KernelFile)); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(tmp, programsDir), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tmp, programsDir, qemuFile), qemuWrapper, 0o755); err != nil {
			return err
		}
		if err := buildTiny(ctx, filepath.Join(tmp, TinyFile)); err != nil {
			return err
		}
		return buildInitrd(ctx, kernel, filepath.Join(tmp, InitrdFile))
	})
	if err != nil {
		return Images{}, fmt.Errorf("building the guests' images: %w", err)
	}
	return Images{Dir: dir}, nil
}

// imagesKey hashes the programs, the compiler and the kernel's version.
func imagesKey(kernel string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%v\n%s\n%d %s", runtime.Version(), filepath.Base(kernel), kernelModules, qemuWrapper,
		tinyNoiseMiB, tinySource)
	err := eachGuestSource(func(name string, content []byte) error {
		fmt.Fprintf(h, "%s %d\n%s", name, len(content), content)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// eachGuestSource calls visit with each source file of the guest's program, in
// the order of their names.
func eachGuestSource(visit func(name string, content []byte) error) error {
	entries, err := guestSource.ReadDir("guest")
	if err != nil {
		return fmt.Errorf("listing the guest's sources: %w", err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		content, err := guestSource.ReadFile("guest/" + entry.Name())
		if err != nil {
			return fmt.Errorf("reading the guest's sources: %w", err)
		}
		if err := visit(entry.Name(), content); err != nil {
			return err
		}
	}
	return nil
}

// cachedKernel returns a directory with a kernel and its modules, named after
// the package they come from. The newest one in the cache serves, so that a lab
// starts without asking any server.
func cachedKernel(ctx context.Context, cache string, log func(format string, args ...any)) (string, error) {
	found, err := filepath.Glob(filepath.Join(cache, kernelPackagePrefix+"*"))
	if err != nil {
		return "", fmt.Errorf("looking for a kernel: %w", err)
	}
	if len(found) > 0 {
		return found[len(found)-1], nil // Glob sorts by name.
	}
	log("downloading the guests' kernel once")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("making the kernel cache: %w", err)
	}
	work, err := os.MkdirTemp(cache, ".download-")
	if err != nil {
		return "", fmt.Errorf("making the kernel cache: %w", err)
	}
	defer os.RemoveAll(work)
	pkg, err := downloadKernel(ctx, work)
	if err != nil {
		return "", fmt.Errorf("downloading the guests' kernel (hack/deps.sh refreshes apt's lists): %w", err)
	}
	dir := filepath.Join(cache, strings.TrimSuffix(filepath.Base(pkg), ".deb"))
	err = makeDir(dir, func(tmp string) error { return unpackKernel(ctx, pkg, filepath.Join(work, "root"), tmp) })
	if err != nil {
		return "", fmt.Errorf("unpacking the guests' kernel: %w", err)
	}
	return dir, nil
}

// downloadKernel downloads Debian's current kernel package into dir, by the meta
// package that names it, and returns its path. apt checks its signature.
func downloadKernel(ctx context.Context, dir string) (string, error) {
	download := func(pkg string) (string, error) {
		// apt's own user cannot write here, and warns about it.
		if _, err := commandIn(ctx, dir, "apt-get", "-o", "APT::Sandbox::User=root", "download", pkg); err != nil {
			return "", err
		}
		name, _, _ := strings.Cut(pkg, "=")
		return onlyFile(filepath.Join(dir, name+"_*.deb"))
	}
	meta, err := download(kernelMetaPackage)
	if err != nil {
		return "", err
	}
	depends, err := commandIn(ctx, dir, "dpkg-deb", "--field", meta, "Depends")
	if err != nil {
		return "", err
	}
	pkg, err := kernelDependency(depends)
	if err != nil {
		return "", err
	}
	return download(pkg)
}

// kernelDependency picks the kernel's package out of the meta package's
// dependencies, as apt wants it: name, or name=version.
func kernelDependency(depends string) (string, error) {
	for dependency := range strings.SplitSeq(depends, ",") {
		name, version, _ := strings.Cut(strings.TrimSpace(dependency), " ")
		if !strings.HasPrefix(name, kernelPackagePrefix) {
			continue
		}
		if exact, ok := strings.CutPrefix(version, "(= "); ok {
			return name + "=" + strings.TrimSuffix(exact, ")"), nil
		}
		return name, nil
	}
	return "", fmt.Errorf("finding the kernel's package in %q", depends)
}

// unpackKernel unpacks a kernel package into root and copies what guests need to
// dir.
func unpackKernel(ctx context.Context, pkg, root, dir string) error {
	if _, err := commandIn(ctx, dir, "dpkg-deb", "--extract", pkg, root); err != nil {
		return err
	}
	image, err := onlyFile(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil {
		return err
	}
	if err := copyFile(image, filepath.Join(dir, KernelFile)); err != nil {
		return err
	}
	release := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
	for _, module := range allModules() {
		source := filepath.Join(root, "lib", "modules", release, "kernel", module)
		if err := copyFile(source, filepath.Join(dir, filepath.Base(module))); err != nil {
			return err
		}
	}
	return nil
}

// buildInitrd builds the guest's program and packs it, with the modules of a
// kernel, into an initial RAM disk. It is not compressed: unpacking would cost an
// emulated guest more time than reading.
func buildInitrd(ctx context.Context, kernel, path string) error {
	work, err := os.MkdirTemp("", "virtferry-guest-")
	if err != nil {
		return fmt.Errorf("making a directory to build in: %w", err)
	}
	defer os.RemoveAll(work)
	program, err := buildGuest(ctx, work)
	if err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making the initial RAM disk: %w", err)
	}
	defer out.Close()
	archive := newCpio(out)
	archive.file("init", 0o755, program)
	archive.directory("dev", 0o755)
	archive.device("dev/console", 0o600, 5, 1) // What the kernel gives PID 1 as its standard streams.
	archive.directory("modules", 0o755)
	if err := packModules(archive, kernel); err != nil {
		return err
	}
	if err := archive.finish(); err != nil {
		return fmt.Errorf("writing the initial RAM disk: %w", err)
	}
	return out.Close()
}

// packModules packs the modules of a kernel, with a list of them for each purpose.
func packModules(archive *cpioWriter, kernel string) error {
	for _, module := range allModules() {
		name := filepath.Base(module)
		content, err := os.ReadFile(filepath.Join(kernel, name))
		if err != nil {
			return fmt.Errorf("reading a kernel module: %w", err)
		}
		archive.file("modules/"+name, 0o644, content)
	}
	for _, k := range kernelModules {
		var list strings.Builder
		for _, module := range k.modules {
			fmt.Fprintln(&list, filepath.Base(module))
		}
		archive.file("modules/"+k.purpose+".list", 0o644, []byte(list.String()))
	}
	return nil
}

// buildGuest builds the guest's program in dir, as a module of its own that needs
// nothing but the standard library, and returns the executable.
func buildGuest(ctx context.Context, dir string) ([]byte, error) {
	err := eachGuestSource(func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(dir, name), content, 0o600)
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module guest\n\ngo 1.26\n"), 0o600); err != nil {
		return nil, fmt.Errorf("writing the guest's go.mod: %w", err)
	}
	cmd := groupCommand(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", "init", ".")
	cmd.Dir = dir
	// Always the guests' architecture, and none of the caller's workspace or flags.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the guest's program: %w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "init"))
}
