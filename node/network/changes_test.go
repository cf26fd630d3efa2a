package network

import "testing"

func TestChanges(t *testing.T) {
	var c Changes
	c.Announce() // nobody waits
	first, same := c.Next(), c.Next()
	select {
	case <-first:
		t.Fatal("woken by a change that came before")
	default:
	}
	c.Announce()
	<-first
	<-same
	select {
	case <-c.Next():
		t.Error("the next change has come already")
	default:
	}
}
