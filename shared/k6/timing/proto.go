package timing

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// protos compiles each .proto file once.
type protos struct {
	lock  sync.Mutex
	files map[string]protoreflect.FileDescriptor
}

// method finds /package.Service/Method in a .proto file; its imports lie beside it or are Google's own.
func (p *protos) method(path, name string) (protoreflect.MethodDescriptor, error) {
	file, err := p.file(path)
	if err != nil {
		return nil, err
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	short := strings.TrimPrefix(service, string(file.Package())+".")
	found := file.Services().ByName(protoreflect.Name(short))
	if found == nil || string(found.FullName()) != service {
		return nil, fmt.Errorf("%s has no service %q", filepath.Base(path), service)
	}
	descriptor := found.Methods().ByName(protoreflect.Name(method))
	if descriptor == nil {
		return nil, fmt.Errorf("%s: service %s has no method %q", filepath.Base(path), service, method)
	}
	return descriptor, nil
}

func (p *protos) file(path string) (protoreflect.FileDescriptor, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if file, ok := p.files[path]; ok {
		return file, nil
	}
	linked := protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
		descriptor, err := protoregistry.GlobalFiles.FindFileByPath(name)
		return protocompile.SearchResult{Desc: descriptor}, err
	})
	beside := &protocompile.SourceResolver{ImportPaths: []string{filepath.Dir(path)}}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{beside, linked}),
	}
	files, err := compiler.Compile(context.Background(), filepath.Base(path))
	if err != nil {
		return nil, err
	}
	if p.files == nil {
		p.files = map[string]protoreflect.FileDescriptor{}
	}
	p.files[path] = files[0]
	return files[0], nil
}

// encodeMessage turns an object from k6.js ([]byte where it had an ArrayBuffer) into wire format.
func encodeMessage(descriptor protoreflect.MessageDescriptor, object any) ([]byte, error) {
	text, err := json.Marshal(object) // []byte becomes base64, as protobuf's JSON has it
	if err != nil {
		return nil, err
	}
	message := dynamicpb.NewMessage(descriptor)
	if err := protojson.Unmarshal(text, message); err != nil {
		return nil, fmt.Errorf("message %s: %w", descriptor.FullName(), err)
	}
	return proto.Marshal(message)
}

// decodeMessage is the protobuf JSON of a message, fields at their default value included.
func decodeMessage(descriptor protoreflect.MessageDescriptor, wire []byte) (string, error) {
	message := dynamicpb.NewMessage(descriptor)
	if err := proto.Unmarshal(wire, message); err != nil {
		return "", fmt.Errorf("message %s: %w", descriptor.FullName(), err)
	}
	text, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(message)
	return string(text), err
}
