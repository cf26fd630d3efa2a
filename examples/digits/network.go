package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// How the network learns.
const (
	batch    = 32
	fastest  = 0.05 // learning rate of the first epoch; it falls along a cosine
	momentum = 0.9
	decay    = 1e-4 // pull of every weight towards zero
)

// rate is the learning rate of an epoch.
func rate(epoch, epochs int) float32 {
	return float32(fastest * (1 + math.Cos(math.Pi*float64(epoch)/float64(epochs))) / 2)
}

// layer is a matrix of weights, a row for each of its outputs, and what
// training needs of it.
type layer struct {
	in, out  int
	weight   []float32
	bias     []float32
	gradient []float32 // summed over a batch: weights, then biases
	speed    []float32 // momentum: likewise
}

func newLayer(in, out int, chance *rand.Rand) *layer {
	l := &layer{
		in: in, out: out, weight: make([]float32, in*out), bias: make([]float32, out),
		gradient: make([]float32, in*out+out), speed: make([]float32, in*out+out),
	}
	spread := math.Sqrt(2 / float64(in)) // He et al. 2015, for rectified units
	for i := range l.weight {
		l.weight[i] = float32(chance.NormFloat64() * spread)
	}
	return l
}

// forward sets y to the layer's outputs for x.
func (l *layer) forward(x, y []float32) {
	for o := range y {
		row := l.weight[o*l.in : (o+1)*l.in]
		sum := l.bias[o]
		for i, v := range x {
			sum += row[i] * v
		}
		y[o] = sum
	}
}

// backward adds the gradient for an input x and the gradient dy of its outputs,
// and sets dx, unless nil, to the gradient of the inputs.
func (l *layer) backward(x, dy, dx []float32) {
	clear(dx)
	for o, d := range dy {
		if d == 0 {
			continue
		}
		gradient := l.gradient[o*l.in : (o+1)*l.in]
		for i, v := range x {
			gradient[i] += d * v
		}
		l.gradient[l.in*l.out+o] += d
		if dx == nil {
			continue
		}
		row := l.weight[o*l.in : (o+1)*l.in]
		for i := range dx {
			dx[i] += d * row[i]
		}
	}
}

// step moves the layer down its gradient, the mean over n images, and clears it.
func (l *layer) step(rate float32, n int) {
	scale := 1 / float32(n)
	for i, g := range l.gradient {
		var at *float32
		pull := float32(0)
		if i < len(l.weight) {
			at = &l.weight[i]
			pull = decay * *at
		} else {
			at = &l.bias[i-len(l.weight)]
		}
		l.speed[i] = momentum*l.speed[i] - rate*(g*scale+pull)
		*at += l.speed[i]
	}
	clear(l.gradient)
}

// network has one hidden layer of rectified units.
type network struct {
	first, second *layer
	hidden, score []float32 // outputs of the two layers for the last image
	back, error   []float32 // their gradients
}

func newNetwork(hidden int, chance *rand.Rand) *network {
	return &network{
		first: newLayer(pixels, hidden, chance), second: newLayer(hidden, classes, chance),
		hidden: make([]float32, hidden), score: make([]float32, classes),
		back: make([]float32, hidden), error: make([]float32, classes),
	}
}

// forward sets score for x.
func (n *network) forward(x []float32) {
	n.first.forward(x, n.hidden)
	for i, v := range n.hidden {
		n.hidden[i] = max(0, v)
	}
	n.second.forward(n.hidden, n.score)
}

// learn adds the gradient for one image and returns its cross-entropy.
func (n *network) learn(x []float32, digit int) float64 {
	n.forward(x)
	top := n.score[0]
	for _, s := range n.score {
		top = max(top, s)
	}
	sum := 0.0
	for _, s := range n.score {
		sum += math.Exp(float64(s - top))
	}
	for i, s := range n.score {
		n.error[i] = float32(math.Exp(float64(s-top)) / sum)
	}
	n.error[digit]--
	n.second.backward(n.hidden, n.error, n.back)
	for i, v := range n.hidden {
		if v == 0 {
			n.back[i] = 0
		}
	}
	n.first.backward(x, n.back, nil)
	return math.Log(sum) - float64(n.score[digit]-top)
}

// epoch learns every image once, in a new order and each moved by up to a
// pixel, and returns the mean cross-entropy.
func (n *network) epoch(images []image, rate float32, chance *rand.Rand) float64 {
	loss, waiting := 0.0, 0
	for turn, i := range chance.Perm(len(images)) {
		moved := images[i].shifted(chance.IntN(3)-1, chance.IntN(3)-1)
		loss += n.learn(moved[:], images[i].digit)
		if waiting++; waiting == batch || turn == len(images)-1 {
			n.first.step(rate, waiting)
			n.second.step(rate, waiting)
			waiting = 0
		}
	}
	return loss / float64(len(images))
}

// accuracy is the share of images told right.
func (n *network) accuracy(images []image) float64 {
	right := 0
	for i := range images {
		n.forward(images[i].pixel[:])
		best := 0
		for digit, s := range n.score {
			if s > n.score[best] {
				best = digit
			}
		}
		if best == images[i].digit {
			right++
		}
	}
	return float64(right) / float64(len(images))
}

// magic opens model.bin.
const magic = "SOUKMLP1"

// write appends the network in the format of README.md.
func (n *network) write(to *bytes.Buffer) {
	to.WriteString(magic)
	var b []byte
	for _, size := range []int{pixels, n.first.out, classes} {
		b = binary.LittleEndian.AppendUint32(b, uint32(size))
	}
	for _, part := range [][]float32{n.first.weight, n.first.bias, n.second.weight, n.second.bias} {
		for _, v := range part {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	to.Write(b)
}
