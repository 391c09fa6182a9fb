// Package controllers is the manager's side of Virtferry in the Kubernetes API:
// it watches, lets pkg/migration decide, and writes what was decided. It never
// talks to a hypervisor.
package controllers
