package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
)

// The data set: images of side times side pixels, each from 0 to brightest.
const (
	side      = 8
	pixels    = side * side
	classes   = 10
	brightest = 16
)

// maxImages bounds what is read; the data set has 1,797.
const maxImages = 100_000

// image is one handwritten digit.
type image struct {
	pixel [pixels]float32 // 0 to 1
	digit int
}

// readImages reads gzipped lines of 64 pixels and the digit.
func readImages(r io.Reader) ([]image, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	lines := csv.NewReader(z)
	lines.FieldsPerRecord = pixels + 1
	lines.ReuseRecord = true
	var images []image
	for {
		fields, err := lines.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		var m image
		for i, field := range fields[:pixels] {
			value, err := strconv.ParseFloat(field, 32)
			if err != nil || value < 0 || value > brightest {
				return nil, fmt.Errorf("image %d: pixel %q", len(images)+1, field)
			}
			m.pixel[i] = float32(value) / brightest
		}
		digit, err := strconv.ParseFloat(fields[pixels], 32)
		if err != nil || digit < 0 || digit >= classes || digit != float64(int(digit)) {
			return nil, fmt.Errorf("image %d: digit %q", len(images)+1, fields[pixels])
		}
		m.digit = int(digit)
		if images = append(images, m); len(images) > maxImages {
			return nil, fmt.Errorf("more than %d images", maxImages)
		}
	}
	if len(images) < 10 {
		return nil, errors.New("too few images to keep some aside")
	}
	return images, nil
}

// split keeps a random fifth aside.
func split(images []image, chance *rand.Rand) (training, test []image) {
	chance.Shuffle(len(images), func(i, j int) { images[i], images[j] = images[j], images[i] })
	aside := len(images) / 5
	return images[aside:], images[:aside]
}

// shifted is m moved by (x, y) pixels; what leaves the image is lost. Training
// on moved images keeps the network from learning them by heart.
func (m *image) shifted(x, y int) (moved [pixels]float32) {
	for row := range side {
		for column := range side {
			if r, c := row-y, column-x; r >= 0 && r < side && c >= 0 && c < side {
				moved[row*side+column] = m.pixel[r*side+c]
			}
		}
	}
	return moved
}
