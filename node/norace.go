//go:build !race

package node

const slow = 1
