package jobfile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/souk-market/souk/cmd/souk/yamlfile"
	"github.com/souk-market/souk/gpu/runner/egress"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
)

// Parse reads a job file. Errors name it as file; relative paths in it are
// below dir, which must be absolute.
func Parse(src []byte, file, dir string) (*Spec, error) {
	root, err := yamlfile.Parse(src, file, Keys()...)
	if err != nil {
		return nil, err
	}
	s := New(dir)
	s.at[""] = root
	return s, root.Each(topKeys, s.top)
}

// What each mapping of the file may hold.
var (
	topKeys = []string{"kind", "name", "image", "wasm", "run", "env", "secrets", "registry_auth", "gpu", "cpu", "memory", "shm", "disk",
		"any_of", "data", "network", "isolation", "price", "limits", "retry", "on_reclaim", "trust",
		"access", "port", "ready", "replicas"}
	gpuKeys     = []string{"count", "vram", "model", "compute_cap", "slice", "mixed"}
	dataKeys    = []string{"in", "out", "sync_every"}
	placeKeys   = []string{"from", "to"}
	priceKeys   = []string{"max_per_hour", "max_total", "pay_every", "pay_ahead"}
	limitKeys   = []string{"start_within", "max_duration", "hold_paused", "min_gpu_util"}
	retryKeys   = []string{"on", "max"}
	reclaimKeys = []string{"notice", "checkpoint"}
	trustKeys   = []string{"min_evidence"}
	networkKeys = []string{"declared"}
	accessKeys  = []string{"exec", "ports"}
	choiceKeys  = []string{"region", "rtt_ms"}
)

// Keys are the paths of all keys that a job file may hold, such as
// price.max_total and data.in[].from; those of env are names of its own.
func Keys() []string {
	keys := slices.Clone(topKeys)
	for _, m := range []struct {
		path string
		keys []string
	}{
		{"gpu", gpuKeys}, {"any_of[]", choiceKeys}, {"data", dataKeys}, {"data.in[]", placeKeys}, {"data.out[]", placeKeys},
		{"price", priceKeys}, {"limits", limitKeys}, {"retry", retryKeys}, {"on_reclaim", reclaimKeys}, {"trust", trustKeys},
		{"access", accessKeys}, {"network", networkKeys},
	} {
		for _, k := range m.keys {
			keys = append(keys, m.path+"."+k)
		}
	}
	return keys
}

func (s *Spec) top(key string, v yamlfile.Value) error {
	s.at[v.Key()] = v
	switch key {
	case "secrets", "registry_auth", "port", "ready", "replicas":
		return v.Wrap(ErrUnavailable)
	case "access":
		return v.Each(accessKeys, s.parseAccess)
	case "run":
		return s.parseRun(v)
	case "env":
		return v.Each(nil, s.parseEnv)
	case "gpu":
		s.resources.GpuCount = 1 // who asks for a GPU asks for one
		s.gpu = true
		return v.Each(gpuKeys, s.parseGPU)
	case "any_of":
		return s.parseAnyOf(v)
	case "data":
		return v.Each(dataKeys, s.parseData)
	case "network":
		if v.IsMap() || v.IsList() {
			return v.Each(networkKeys, s.parseNetwork)
		}
		return s.text(key, v)
	case "price":
		return v.Each(priceKeys, s.literal)
	case "limits":
		return v.Each(limitKeys, s.literal)
	case "retry":
		return v.Each(retryKeys, s.parseRetry)
	case "on_reclaim":
		s.reclaim = new(leasev1.Reclaim)
		return v.Each(reclaimKeys, s.parseReclaim)
	case "trust":
		return v.Each(trustKeys, s.text)
	case "cpu", "memory", "shm", "disk":
		return s.literal(key, v)
	}
	return s.text(key, v)
}

// text sets a key whose value is a word. What YAML reads as a number or as true
// must stand in quotes, if that makes it right.
func (s *Spec) text(key string, v yamlfile.Value) error {
	if err := s.literal(key, v); err != nil {
		return err
	}
	_, err := v.Text()
	return err
}

// literal sets a key whose value is a number, an amount, a size or a time.
func (s *Spec) literal(_ string, v yamlfile.Value) error {
	t, err := v.Scalar(wanted(v.Key()))
	if err != nil {
		return err
	}
	s.at[v.Key()] = v
	return placed(v, s.Set(v.Key(), t))
}

// placed gives an error of a setter the place of the value.
func placed(v yamlfile.Value, err error) error {
	if err != nil {
		return v.Wrap(err)
	}
	return nil
}

// parseNetwork reads the hosts that a job reaches.
func (s *Spec) parseNetwork(_ string, v yamlfile.Value) (err error) {
	s.at[v.Key()] = v
	if s.hosts, err = v.Texts(); err != nil {
		return err
	}
	_, err = egress.Parse(s.hosts)
	return placed(v, err)
}

func (s *Spec) parseRun(v yamlfile.Value) error {
	if !v.IsList() {
		t, err := v.Text()
		if err == nil && t == "" {
			err = v.Errorf("is empty")
		}
		s.shell = t
		return err
	}
	items, err := v.Items()
	if err != nil {
		return err
	}
	s.args = make([]string, len(items))
	for i, item := range items {
		if s.args[i], err = item.Literal(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) parseEnv(name string, v yamlfile.Value) error {
	t, err := v.Literal()
	if err != nil {
		return err
	}
	return placed(v, s.SetEnv(name, t))
}

func (s *Spec) parseGPU(key string, v yamlfile.Value) (err error) {
	if key == "mixed" {
		s.at[v.Key()] = v
		s.resources.Mixed, err = v.Bool()
		return err
	}
	if key != "model" {
		return s.literal(key, v)
	}
	models, err := v.Texts()
	if err != nil {
		return err
	}
	var all []string
	for _, m := range models {
		if err := s.Set(v.Key(), m); err != nil {
			return v.Wrap(err)
		}
		all = append(all, s.resources.Models...)
	}
	s.resources.Models = all
	return nil
}

// parseAnyOf reads alternatives. This version knows regions: any of several.
func (s *Spec) parseAnyOf(v yamlfile.Value) error {
	items, err := v.Items()
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return v.Errorf("is empty: no offer could match")
	}
	for _, item := range items {
		regions := 0
		err := item.Each(choiceKeys, func(key string, v yamlfile.Value) error {
			if key == "rtt_ms" {
				return v.Wrap(ErrUnavailable)
			}
			names, err := v.Texts()
			if err != nil {
				return err
			}
			regions += len(names)
			for _, n := range names {
				if err := s.AddRegion(n); err != nil {
					return v.Wrap(err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if regions == 0 {
			return item.Errorf("is empty: every offer would match")
		}
	}
	return nil
}

func (s *Spec) parseData(key string, v yamlfile.Value) error {
	if key == "sync_every" {
		return v.Wrap(ErrUnavailable)
	}
	s.at[v.Key()] = v
	s.outSet = s.outSet || key == "out"
	items, err := v.Items()
	if err != nil {
		return err
	}
	for _, item := range items {
		at := make(map[string]string)
		if err := item.Each(placeKeys, func(key string, v yamlfile.Value) (err error) {
			s.at[v.Key()] = v
			at[key], err = v.Text()
			return err
		}); err != nil {
			return err
		}
		add := s.AddOut
		if key == "in" {
			add = s.AddIn
			if _, said := at["to"]; !said {
				at["to"] = "/in"
			}
		}
		if at["from"] == "" {
			return item.Errorf("from is missing")
		}
		if err := add(at["from"], at["to"]); err != nil {
			return s.errorf(item.Key()+"."+faultyPlace(key, err), "%w", err)
		}
	}
	return nil
}

// faultyPlace is the key, from or to, that an error of AddIn or AddOut is about.
func faultyPlace(key string, err error) string {
	if _, below := errors.AsType[*belowError](err); below && key == "in" {
		return "to"
	}
	return "from"
}

// parseAccess takes the access that is none, which every job has.
func (s *Spec) parseAccess(key string, v yamlfile.Value) error {
	if key == "exec" {
		yes, err := v.Bool()
		if err == nil && yes {
			err = v.Wrap(ErrUnavailable)
		}
		return err
	}
	ports, err := v.Items()
	if err == nil && len(ports) > 0 {
		err = v.Wrap(ErrUnavailable)
	}
	return err
}

func (s *Spec) parseReclaim(key string, v yamlfile.Value) error {
	if key == "notice" {
		return s.literal(key, v)
	}
	return s.text(key, v)
}

func (s *Spec) parseRetry(key string, v yamlfile.Value) error {
	if key == "max" {
		return s.literal(key, v)
	}
	causes, err := v.Texts()
	if err != nil {
		return err
	}
	if len(causes) == 0 {
		return v.Wrap(fmt.Errorf("is empty: drop retry, or name a cause"))
	}
	return placed(v, s.SetRetry(causes))
}
