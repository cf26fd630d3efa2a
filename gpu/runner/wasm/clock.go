package wasm

// epoch is when every module starts, 2022-01-01 in Unix seconds: a real time
// would make two runs of one job differ.
const epoch = 1_640_995_200

// tick passes at each look at the clock, so that a loop waiting for a time ends.
const tick = 1_000_000 // nanoseconds

// resolution is what a module is told of both clocks.
const resolution = tick

// clock moves only when it is looked at or slept on. Sleeping takes no real
// time: a module waits for nothing outside of itself.
type clock struct {
	now int64 // nanoseconds since the start
}

func (c *clock) wall() (sec int64, nsec int32) {
	now := c.nano()
	return epoch + now/1e9, int32(now % 1e9)
}

func (c *clock) nano() int64 {
	c.now += tick
	return c.now
}

func (c *clock) sleep(ns int64) {
	if ns > 0 && c.now+ns > c.now {
		c.now += ns
	}
}
