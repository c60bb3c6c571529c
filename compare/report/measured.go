package report

// Measured is how many tensors of the target a session of Evidence could be
// held against.
type Measured struct {
	Name    string `json:"name"`
	Dir     string `json:"dir"`
	Tensors int    `json:"tensors"`
}
