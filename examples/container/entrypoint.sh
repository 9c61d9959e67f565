#!/bin/sh
# Starts tfs-serve like the image tensorflow/serving starts its server: with one model, from MODEL_NAME and MODEL_BASE_PATH.
# Arguments come last, and the last value of a repeated flag applies.
set -eu

set -- --model_name="$MODEL_NAME" "$@"
base_path="--model_base_path=$MODEL_BASE_PATH/$MODEL_NAME"
for argument; do
    case $argument in
        # These flags name the models; with a base path as well, the server could wait for it forever.
        --model_config_file=?* | --embedded | --embedded=[1tT]* | --fake=*) base_path= ;;
    esac
done

# In a container, loopback is not reachable from outside; the network controls access to the ports.
# "exec" lets the signals that stop the container reach tfs-serve.
exec tfs-serve --host=0.0.0.0 --port=8500 --rest_api_port=8501 --enable_grpc_healthcheck_service=true \
    ${base_path:+"$base_path"} "$@"
