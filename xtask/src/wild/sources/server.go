// Answers each request with a few bytes.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello\n")
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
