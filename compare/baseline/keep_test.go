package baseline

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

// session is two modules of PyTorch's, which a test may change.
func session(t *testing.T) string {
	from, dir := fixture.Session(t, base), filepath.Join(t.TempDir(), "run")
	for _, m := range []string{"model.norm", "model.embed_tokens"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, "step_0", m), os.DirFS(filepath.Join(from, "step_0", m))))
	}
	return dir
}

// oneTensor is the least that a baseline holds.
func oneTensor(t *testing.T) *Baseline {
	f, err := fingerprint(tensor.FromInts(tensor.Int32, []int{1}, 1))
	require.NoError(t, err)
	return of(&Print{Tensors: []*Tensor{{Module: "m", Direction: "inputs", Slot: "0", Fingerprint: *f}}})
}

const norm = "step_0/model.norm/outputs_0_cuda_0.pt"

// kept saves a session and returns the folder of the baseline and the copy's.
func kept(t *testing.T, from string) (dir, copied string) {
	dir = filepath.Join(t.TempDir(), "golden")
	require.NoError(t, os.Mkdir(dir, 0o777))
	src, err := List(from)
	require.NoError(t, err)
	b := oneTensor(t)
	b.Kept, err = src.Keep(context.Background(), dir)
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, b.Write(&text))
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), text.Bytes(), 0o666))
	_, copied, err = LoadKept(context.Background(), dir)
	require.NoError(t, err)
	return dir, copied
}

// What a kept session no longer is, is said in a line that names the file.
func TestKeptChanged(t *testing.T) {
	from := session(t)
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir, file string)
		want   string
	}{
		{"a bit", func(t *testing.T, _, file string) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			data[len(data)/2] ^= 1
			require.NoError(t, os.WriteFile(file, data, 0o666))
		}, norm + " has other content: its SHA-256 is "},
		{"cut", func(t *testing.T, _, file string) { require.NoError(t, os.Truncate(file, 100)) }, norm + " has 100 bytes, not "},
		{"gone", func(t *testing.T, _, file string) { require.NoError(t, os.Remove(file)) }, norm + ": no such file"},
		{"all gone", func(t *testing.T, dir, _ string) { require.NoError(t, os.RemoveAll(dir)) }, ": no such file"},
		{"more", func(t *testing.T, _, file string) {
			require.NoError(t, os.WriteFile(file+".orig", nil, 0o666))
		}, norm + ".orig was not in it"},
		{"a link", func(t *testing.T, _, file string) {
			require.NoError(t, os.Remove(file))
			require.NoError(t, os.Symlink(filepath.Join(from, filepath.FromSlash(norm)), file))
		}, norm + " is not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, copied := kept(t, from)
			c.change(t, copied, filepath.Join(copied, filepath.FromSlash(norm)))
			_, _, err := LoadKept(context.Background(), dir)
			require.ErrorContains(t, err, "golden: the kept session is not what was saved: ")
			require.ErrorContains(t, err, filepath.FromSlash(c.want))
			require.True(t, strings.HasSuffix(err.Error(), "; restore it, or save a new baseline"), err)
		})
	}
}

// Links within a session stand for what they lead to, empty folders stay.
func TestKeepLinks(t *testing.T) {
	from := session(t)
	file := filepath.Join(from, filepath.FromSlash(norm))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.Symlink("step_0", filepath.Join(from, "step_9")))
	require.NoError(t, os.Rename(file, filepath.Join(from, "norm.pt")))
	require.NoError(t, os.Symlink("../../norm.pt", file))
	require.NoError(t, os.Mkdir(filepath.Join(from, "step_0", "model.none"), 0o777))
	_, copied := kept(t, from)
	for _, name := range []string{norm, "step_9" + strings.TrimPrefix(norm, "step_0")} {
		path := filepath.Join(copied, filepath.FromSlash(name))
		st, err := os.Lstat(path)
		require.NoError(t, err)
		require.True(t, st.Mode().IsRegular(), name)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, data, got)
	}
	require.DirExists(t, filepath.Join(copied, "step_0", "model.none"))
}

func TestListRefuses(t *testing.T) {
	for _, c := range []struct{ name, to, want string }{
		{"out", "../elsewhere", " is a link out of the session, to "},
		{"broken", "nowhere", " is a broken link: "},
		{"loop", ".", " is a link to a folder that it lies in"},
		{"up", "..", " is a link out of the session, to "},
	} {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "elsewhere"), 0o777))
		run := filepath.Join(dir, "run")
		require.NoError(t, os.Mkdir(run, 0o777))
		require.NoError(t, os.Symlink(c.to, filepath.Join(run, c.name)))
		_, err := List(run)
		require.ErrorContains(t, err, filepath.Join(run, c.name)+c.want)
	}
}

// A session that changes while it is read is not kept, and leaves nothing.
func TestKeepChanging(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, from string){
		"a new file": func(t *testing.T, from string) {
			require.NoError(t, os.WriteFile(filepath.Join(from, "step_0", "new"), nil, 0o666))
		},
		"written again": func(t *testing.T, from string) {
			at := time.Now().Add(time.Hour)
			require.NoError(t, os.Chtimes(filepath.Join(from, filepath.FromSlash(norm)), at, at))
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, dir := session(t), t.TempDir()
			src, err := List(from)
			require.NoError(t, err)
			change(t, from)
			_, err = src.Keep(context.Background(), dir)
			require.EqualError(t, err, from+" has changed while it was read: the run that writes it is still going")
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
	src, err := List(session(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	_, err = src.Keep(ctx, dir)
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// No path of the file leads out of the baseline's folder.
func TestParseKept(t *testing.T) {
	for _, c := range []struct {
		k    Kept
		want string
	}{
		{Kept{Session: "../elsewhere"}, `the kept session is "../elsewhere", its files make it "session-`},
		{Kept{Files: []File{{Path: "../../etc/passwd"}}}, `kept.files[0] is "../../etc/passwd", want paths below the session`},
		{Kept{Files: []File{{Path: "/a"}}}, `kept.files[0] is "/a"`},
		{Kept{Files: []File{{Path: "b"}, {Path: "a"}}}, `kept.files[1] is "a"`},
		{Kept{Files: []File{{Path: "a"}, {Path: "a"}}}, `kept.files[1] is "a"`},
	} {
		if c.k.Session == "" {
			c.k.Session = c.k.name()
		}
		b := oneTensor(t)
		b.Kept = &c.k
		var text bytes.Buffer
		require.NoError(t, b.Write(&text))
		_, err := Parse("b.json", text.Bytes())
		require.ErrorContains(t, err, "b.json: is damaged: "+c.want)
	}
}
