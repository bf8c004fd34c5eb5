# One image for the three services; docker-compose.yml says which one a container runs.
FROM python:3.11-slim
WORKDIR /app
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 BLOCKHF_HOME=/data
COPY pyproject.toml README.md LICENSE ./
COPY backend backend
COPY dashboard dashboard
COPY worker worker
RUN pip install --no-cache-dir --disable-pip-version-check . && useradd --uid 1000 blockhf && install -d -o blockhf /data /data/checkpoints
USER blockhf
VOLUME /data
