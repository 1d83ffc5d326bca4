package member

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// formatVersion of the member folder; a folder of another one is refused, never converted silently.
const formatVersion = 1

// ErrFolderVersion reports a member folder that another release wrote in a form unknown to this one.
var ErrFolderVersion = errors.New("member: folder was written by another version: start that version")

// identity is what a member is called for ever: file member.json.
type identity struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
}

// loadIdentity reads the folder's identity or, in a folder without one, makes it with the wanted id ("" = random).
func loadIdentity(dir, want string) (identity, error) {
	file := filepath.Join(dir, "member.json")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(file, want)
	}
	if err != nil {
		return identity{}, err
	}
	return parseIdentity(file, data, want)
}

func parseIdentity(file string, data []byte, want string) (identity, error) {
	var id identity
	if err := json.Unmarshal(data, &id); err != nil {
		return identity{}, fmt.Errorf("member: %s is damaged: %w", file, err)
	}
	if id.Format != formatVersion {
		return identity{}, fmt.Errorf("%s: %w (format %d, this version reads %d)", file, ErrFolderVersion, id.Format, formatVersion)
	}
	if id.ID == "" || (want != "" && want != id.ID) {
		return identity{}, fmt.Errorf("member: %s belongs to %q, not to %q", file, id.ID, want)
	}
	return id, nil
}

func newIdentity(file, want string) (identity, error) {
	if want == "" {
		var raw [8]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return identity{}, err
		}
		want = hex.EncodeToString(raw[:])
	}
	id := identity{Format: formatVersion, ID: want}
	data, err := json.Marshal(id)
	if err != nil {
		return identity{}, err
	}
	return id, replaceFile(file, data)
}

// replaceFile writes a file so that after a crash the old or the new content is there, whole.
func replaceFile(file string, data []byte) error {
	tmp := file + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockFolder keeps a second process out, which etcd would let wait in silence. The lock ends with the process.
func lockFolder(dir string) (unlock func(), err error) {
	file := filepath.Join(dir, "lock")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrFolderInUse, dir), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing gives the lock back; there is nothing to save
}
