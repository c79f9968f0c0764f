// Probe is what runs in the pods of the node's own tests; its image holds nothing else, so it brings its own shell.
//
//	probe serve          answer every request on :8080 with the pod's name, until SIGTERM
//	probe resolve NAME   print the addresses of a name; gives up after 5 s
//	probe get URL        print the body of an answer
//	probe eat MEBIBYTES  take that much memory, then wait
//	probe cat FILE       print a file
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(verb string, args []string) error {
	switch verb {
	case "serve":
		return serve()
	case "resolve":
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		addresses, err := net.DefaultResolver.LookupHost(ctx, args[0])
		fmt.Println(addresses)
		return err
	case "get":
		client := http.Client{Timeout: 5 * time.Second}
		answer, err := client.Get(args[0])
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(os.Stdout, answer.Body)
		return err
	case "eat":
		return eat(args[0])
	case "cat":
		content, err := os.ReadFile(args[0])
		os.Stdout.Write(content)
		return err
	}
	return fmt.Errorf("probe does not know %q", verb)
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	name, _ := os.Hostname()
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprintln(w, name)
	})}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	fmt.Println("serving as", name)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func eat(amount string) error {
	var mebibytes int
	if _, err := fmt.Sscan(amount, &mebibytes); err != nil {
		return err
	}
	held := make([][]byte, 0, mebibytes)
	for range mebibytes {
		block := make([]byte, 1<<20)
		for at := 0; at < len(block); at += 4096 {
			block[at] = 1
		}
		held = append(held, block)
	}
	fmt.Println("holding", len(held), "MiB")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	return nil
}
