package model

// Generation is what generation_config.json says of decoding. Values that the
// file does not give are nil.
type Generation struct {
	BOSTokenID        int   // -1 for none
	EOSTokenIDs       []int // any of them ends a text
	DoSample          bool
	Temperature       *float64
	TopK              *int
	TopP              *float64
	MinP              *float64
	RepetitionPenalty *float64 // vLLM applies it by default, to greedy decoding too

	AttnTemperatureTuning *bool // Llama 4: vLLM takes it from here
}

// ParseGeneration reads the bytes of a generation_config.json. Other keys of
// the file are settings of programs and are not looked at.
func ParseGeneration(file string, data []byte) (*Generation, error) {
	o := parseObject(file, data)
	g := &Generation{
		BOSTokenID:  o.int("bos_token_id", -1),
		EOSTokenIDs: o.ints("eos_token_id"),
		DoSample:    o.bool("do_sample", false),
	}
	optional := func(key string) *float64 {
		if !o.has(key) {
			return nil
		}
		x := o.float(key, 0)
		return &x
	}
	g.Temperature, g.TopP, g.MinP = optional("temperature"), optional("top_p"), optional("min_p")
	g.RepetitionPenalty = optional("repetition_penalty")
	if o.has("top_k") {
		k := o.int("top_k", 0)
		g.TopK = &k
	}
	if o.has("attn_temperature_tuning") {
		on := o.bool("attn_temperature_tuning", false)
		g.AttnTemperatureTuning = &on
	}
	if o.doc.err != nil {
		return nil, o.doc.err
	}
	return g, nil
}
